"""The file of a trace: what a program did for each round, and when, as short records, one behind the other.

It begins with `MAGIC`. Behind it stand msgpack values: a `Head` as a map, and then records, each an array that begins with its `Event`. Times are
nanoseconds of `time.monotonic_ns`; a session is the first `SESSION_BYTES` of its id, by which nobody can speak in it. `tools/trace` reads it.

    DRAFTED    session, began, ended, tokens that it brought (0 or 1)
    SENT       session, round, base, began, ended, drafted tokens, appended ids
    HEARD      session, message, round, base, came, taken out of the queue
    COMMITTED  session, round, base, ended, ids
    RECEIVED   session, round, came, taken out of the queue, drafted tokens
    PLANNED    began, ended, rows
    FORWARD    began, ended, rows as arrays: session, round, ids that are fed, places that are wanted
    PUBLISHED  session, message, round, base, began, ended, ids

The first four are a node's, the others a hub's. `message` is the name of the message's class, `ended` of SENT and PUBLISHED the moment at which the
message was with the operating system, and base 0 where the message has none.
"""

from __future__ import annotations

import fcntl
import logging
import os
import stat
import threading
import time
from dataclasses import asdict, dataclass
from enum import IntEnum
from pathlib import Path

import msgpack

from shared.errors import SettingsError
from shared.settings import shown

log = logging.getLogger(__name__)

MAGIC = b"SLED trace 1\n"
MOST_BYTES = 256 * 2**20  # of a file
SESSION_BYTES = 8
_BUFFERED = 2**16  # bytes that are written at once
_LATE_NS = 10**9  # nanoseconds for which a record waits for others, where others come


class Event(IntEnum):
    """What a record tells; see above."""

    DRAFTED = 1
    SENT = 2
    HEARD = 3
    COMMITTED = 4
    RECEIVED = 5
    PLANNED = 6
    FORWARD = 7
    PUBLISHED = 8


@dataclass(frozen=True)
class Head:
    """Whose trace it is, and when it was begun."""

    side: str  # node or hub
    name: str
    began_ns: int  # time.monotonic_ns
    wall_ns: int  # time.time_ns at the same moment; for people, nothing is computed by it


class TraceFile:
    """Written by any thread, a record at a time. Where the disk is full, or the file as large as it may be, it ends, which is logged once."""

    def __init__(self, path: Path, side: str, name: str, most_bytes: int = MOST_BYTES) -> None:
        """Begin the file anew. Raises SettingsError where that can't be done, where it is no trace, and where another program writes to it."""
        self._path, self._most = path, most_bytes
        self._lock = threading.Lock()
        self._packer = msgpack.Packer()
        self._buffer = bytearray(MAGIC)
        self._buffer += self._packer.pack(asdict(Head(side, name, time.monotonic_ns(), time.time_ns())))
        self._written = 0
        self._written_at = time.monotonic_ns()
        try:
            self._file: int | None = _opened(path)
        except OSError as error:
            raise SettingsError(f"can't write the trace {path}: {error.strerror}") from None
        except ValueError:  # of a path: a NUL, or half of a surrogate pair
            raise SettingsError(f"can't write the trace {shown(str(path))}: no file has such a name") from None
        self._write()

    def note(self, event: Event, *fields: object) -> None:
        """Add a record."""
        with self._lock:
            if self._file is None:
                return
            self._buffer += self._packer.pack((event, *fields))
            if len(self._buffer) >= _BUFFERED or time.monotonic_ns() - self._written_at >= _LATE_NS:
                self._write()

    def close(self) -> None:
        """Write what is left. What is noted from then on is lost."""
        with self._lock:
            if self._file is not None:
                self._write()
            self._end()

    def _write(self) -> None:
        assert self._file is not None
        if self._written + len(self._buffer) > self._most:
            log.warning("the trace %s has %d bytes, as many as it may have, and ends here", self._path, self._written)
            self._end()
            return
        try:
            rest = memoryview(self._buffer)
            while rest:
                rest = rest[os.write(self._file, rest) :]
        except OSError as error:
            log.warning("the trace %s ends here: %s", self._path, error.strerror)
            self._end()
            return
        self._written += len(self._buffer)
        self._written_at = time.monotonic_ns()
        self._buffer = bytearray()

    def _end(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None


def _opened(path: Path) -> int:
    """A descriptor of the file, empty and locked. Raises SettingsError, OSError or ValueError."""
    if path.is_dir():
        raise SettingsError(f"the trace {path} is a folder; name a file in it")
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK, 0o600)
    try:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            raise SettingsError(f"the trace {path} is not a regular file")
        if os.read(file, len(MAGIC)) not in (b"", MAGIC):
            raise SettingsError(f"{path} is no trace, and is left as it is; name another file for one")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SettingsError(f"another program writes the trace {path}; name another file with --trace") from None
        os.ftruncate(file, 0)
        os.lseek(file, 0, os.SEEK_SET)
    except BaseException:
        os.close(file)
        raise
    return file
