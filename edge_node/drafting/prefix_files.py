"""K/V of the beginnings of texts, in files, from run to run: what a draft model need not compute again.

A file's name says of which graph and of which ids it is. It holds their K/V as the drafter gives them, little endian, and
behind them a checksum over name and K/V. Whatever else stands there counts as damaged, and is removed.
"""

from __future__ import annotations

import logging
import os
import tempfile
import zlib
from collections.abc import Sequence
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edge_node.drafting.onnx_drafter import OnnxDrafter
from shared.cache import cache_folder
from shared.pair import Pair

log = logging.getLogger(__name__)

_FORMAT = 1  # the version of the files' format, which is part of their names
_SUFFIX = ".kv"
_CHECKSUM = 4  # bytes at the end of a file
_PIECE = 2**20  # bytes that are read at a time: 25 ms on a slow SD card
_MOST_FILES = 8
_MOST_BYTES = 128 * 2**20  # bytes of all files together


class PrefixReader:
    """A file that is read piece by piece."""

    def __init__(self, path: Path, ids: tuple[int, ...], size: int) -> None:
        """`size` is that of the K/V in bytes."""
        self.ids = ids
        self._path = path
        self._data = np.empty(size + _CHECKSUM, np.uint8).data  # takes no memory until it is read
        self._at = 0
        self._checksum = zlib.crc32(path.name.encode())

    def advance(self) -> bool:
        """Read the next piece; False when there is none. Raises OSError, and ValueError for a file that is cut short."""
        size = len(self._data) - _CHECKSUM
        if self._at == size:
            return False
        end = min(self._at + _PIECE, size)
        with self._path.open("rb", buffering=0) as file:
            file.seek(self._at)
            if file.readinto(self._data[self._at : end]) != end - self._at:
                raise ValueError("it is cut short")
            if end == size and file.readinto(self._data[end:]) != _CHECKSUM:
                raise ValueError("it is cut short")
        self._checksum = zlib.crc32(self._data[self._at : end], self._checksum)
        self._at = end
        return True

    def kv(self) -> npt.NDArray[np.float32]:
        """What `PrefixFiles.keep` was given, flat. Raises ValueError when it is not that."""
        content, checksum = self._data[: self._at], self._data[self._at :]
        if self._checksum != int.from_bytes(checksum, "little"):
            raise ValueError("its checksum is wrong")
        with suppress(OSError):
            os.utime(self._path)  # the files that were not used for longest are the first to go
        return np.frombuffer(content, "<f4")

    def discard(self) -> None:
        """Remove the file, where that can be done."""
        with suppress(OSError):
            self._path.unlink()


class PrefixFiles:
    """The files of one graph, in a folder that several graphs share: together they stay within _MOST_FILES and _MOST_BYTES."""

    def __init__(self, folder: Path, graph: str, bytes_per_id: int) -> None:
        """`graph` is what tells it from others, whatever it is; `bytes_per_id` is the size of an id's K/V."""
        self._folder = folder
        self._graph = blake2b(f"{_FORMAT} {graph}".encode(), digest_size=8).hexdigest()
        self._bytes_per_id = bytes_per_id

    def find(self, ids: Sequence[int]) -> PrefixReader | None:
        """The file with the most of the first of `ids`, if there is one. Raises OSError."""
        for count, path in self._fitting(ids):
            size = count * self._bytes_per_id
            if path.stat().st_size == size + _CHECKSUM:
                return PrefixReader(path, tuple(ids[:count]), size)
            log.warning("%s is removed: its size is wrong", path)
            path.unlink()
        return None

    def takes(self, count: int) -> bool:
        """Whether the K/V of so many ids may be kept at all."""
        return count * self._bytes_per_id + _CHECKSUM <= _MOST_BYTES

    def keep(self, ids: Sequence[int], kv: npt.NDArray[np.float32]) -> None:
        """Keep the K/V of `ids` in place of shorter beginnings of them. Raises OSError."""
        path = self._path(ids)
        shorter = [each for count, each in self._fitting(ids) if count < len(ids)]
        content = np.ascontiguousarray(kv, "<f4").reshape(-1).view(np.uint8).data
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=self._folder, delete=False) as file:  # only its owner can read it
            fresh = Path(file.name)
            try:
                file.write(content)
                file.write(zlib.crc32(content, zlib.crc32(path.name.encode())).to_bytes(_CHECKSUM, "little"))
                file.flush()
                fresh.replace(path)
            except BaseException:  # Ctrl-C too
                fresh.unlink(missing_ok=True)
                raise
        for each in shorter:
            each.unlink(missing_ok=True)
        self._tidy()

    def _path(self, ids: Sequence[int]) -> Path:
        digest = blake2b(np.asarray(ids, "<i8").tobytes(), digest_size=16).hexdigest()
        return self._folder / f"{self._graph}-{len(ids)}-{digest}{_SUFFIX}"

    def _fitting(self, ids: Sequence[int]) -> list[tuple[int, Path]]:
        """The files with a beginning of `ids`, and how many ids that is; the longest first."""
        counts = [path.stem.split("-")[1] for path in self._folder.glob(f"{self._graph}-*-*{_SUFFIX}")]
        lengths = sorted({int(count) for count in counts if count.isdecimal()} - {0}, reverse=True)
        paths = [(length, self._path(ids[:length])) for length in lengths if length <= len(ids)]
        return [(length, path) for length, path in paths if path.is_file()]

    def _tidy(self) -> None:
        """Remove the files that were not used for longest, those included that somebody left unfinished."""
        found = [(path.stat(), path) for path in self._folder.iterdir() if path.is_file()]
        found.sort(key=lambda each: each[0].st_mtime_ns, reverse=True)
        total = 0
        for place, (stat, path) in enumerate(found):
            total += stat.st_size
            if place >= _MOST_FILES or total > _MOST_BYTES:
                path.unlink(missing_ok=True)


def files_of(pair: Pair, model: OnnxDrafter) -> PrefixFiles:
    """The files of a pair's draft, which is known by the hash that the manifest recorded and that was compared when it was loaded.

    Where there is none it is known by its place, size and time: computing a hash would take longer than reading K/V.
    """
    stat = model.path.stat()
    known = f"{model.path} {stat.st_size} {stat.st_mtime_ns}"
    graph = pair.sha256.get(model.path.relative_to(pair.folder).as_posix(), known)
    return PrefixFiles(cache_folder() / "prefixes", graph, model.bytes_per_id)
