"""A file that is on its way: what has come of it, in a file whose name says what it is to become."""

from __future__ import annotations

import os
from pathlib import Path

from edge_node.delivery.offer import OfferedFile
from shared.errors import DeliveryError
from shared.file_hash import sha256_of

_SYNC_BYTES = 2**20  # bytes after which the disk is waited for: a power cut loses no more


class Part:
    """[0, size) of a file, on disk. What was appended survives the end of this program, and a power cut up to the last sync."""

    def __init__(self, folder: Path, file: OfferedFile) -> None:
        """Go on with what is there. Raises DeliveryError."""
        self.path = folder / f"{file.sha256.hex()}.part"
        self.file = file
        self._unsynced = 0
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            self.size = os.fstat(self._descriptor).st_size
            if self.size > file.size:
                self.discard()
            os.lseek(self._descriptor, self.size, os.SEEK_SET)
        except OSError as error:
            raise _trouble(self.path, error) from None

    def append(self, data: bytes) -> None:
        """Write the next bytes. Raises DeliveryError where there is no room; what came before stays."""
        rest = memoryview(data)
        try:
            while rest:
                written = os.write(self._descriptor, rest)
                self.size, self._unsynced, rest = self.size + written, self._unsynced + written, rest[written:]
        except OSError as error:
            raise _trouble(self.path, error) from None

    def sync(self, least: int = _SYNC_BYTES) -> None:
        """Have the disk keep what was written, once it is so many bytes. Raises DeliveryError."""
        if self._unsynced < least:
            return
        try:
            os.fsync(self._descriptor)
        except OSError as error:
            raise _trouble(self.path, error) from None
        self._unsynced = 0

    @property
    def is_right(self) -> bool:
        """Whether it is the file, by its SHA-256."""
        return hash_of(self.path) == self.file.sha256

    def discard(self) -> None:
        """Begin anew."""
        os.ftruncate(self._descriptor, 0)
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        self.size = self._unsynced = 0

    def close(self) -> None:
        """Leave the file as it is."""
        os.close(self._descriptor)


def hash_of(path: Path) -> bytes:
    """A file's SHA-256. Raises DeliveryError."""
    try:
        return sha256_of(path)
    except OSError as error:
        raise _trouble(path, error) from None


def _trouble(path: Path, error: OSError) -> DeliveryError:
    return DeliveryError(f"cannot keep {path}: {error.strerror}; what has come so far is kept, so run it again")
