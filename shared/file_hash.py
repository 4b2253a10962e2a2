"""The SHA-256 of a file."""

from __future__ import annotations

import hashlib
from pathlib import Path

_CHUNK = 2**20  # bytes that are hashed at a time: weights may be larger than memory


def sha256_of(path: Path) -> bytes:
    """Of a file's contents, 32 bytes. Raises OSError."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.digest()
