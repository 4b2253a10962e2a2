"""What a hub offers to nodes: the files of its pair that a device needs, known by their SHA-256, and no others."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hub.delivery.device_manifest import device_manifest
from shared.errors import PairError
from shared.messages import MAX_FILE
from shared.pair import Pair

FORMAT = 1
_CHUNK = 2**20  # bytes that are hashed at a time


@dataclass(frozen=True)
class OfferedFile:
    """A file of the pair, or contents that were made of one."""

    size: int
    sha256: bytes
    content: Path | bytes

    def read(self, offset: int, length: int) -> bytes:
        """Bytes [offset, offset + length). Raises OSError, also for a file that has become shorter."""
        if isinstance(self.content, bytes):
            return self.content[offset : offset + length]
        with self.content.open("rb", buffering=0) as file:
            file.seek(offset)
            data = file.read(length)
        if len(data) != length:
            raise OSError(f"{self.content} has changed since the hub was started")
        return data


@dataclass(frozen=True)
class Offer:
    """The files by their hash, and the JSON object that tells nodes of them."""

    files: dict[bytes, OfferedFile]
    told: dict[str, Any]


def make_offer(pair: Pair, go_on: Callable[[], bool]) -> Offer | None:
    """What the pair offers, once all its files have been hashed. None when `go_on` says so no more meanwhile.

    Raises PairError for files that can't be read, or are not those that the manifest recorded.
    """
    by_path: dict[str, OfferedFile] = {}
    files: dict[bytes, OfferedFile] = {}
    drafts: dict[str, Any] = {}
    for draft in pair.drafts.values():
        paths = {path.relative_to(pair.folder).as_posix(): path for path in pair.device_files(draft)}
        for name, path in paths.items():
            if name not in by_path:
                if (file := _hashed(path, go_on)) is None:
                    return None
                recorded = pair.sha256.get(name)
                if recorded is not None and recorded.lower() != file.sha256.hex():
                    raise PairError(f"{path} is not the file that the manifest recorded; install the pair again")
                by_path[name] = file
        text = device_manifest(pair, draft, {name: by_path[name].sha256.hex() for name in paths})
        manifest = OfferedFile(len(text), hashlib.sha256(text).digest(), text)
        files[manifest.sha256] = manifest
        drafts[draft.name] = {
            "acceptance": draft.acceptance,
            "step_bytes": draft.step_bytes,
            "manifest": _told(manifest),
            "files": list(paths),
        }
    files |= {file.sha256: file for file in by_path.values()}
    told = {
        "format": FORMAT,
        "delivers": True,
        "pair": pair.name,
        "tokenizer": pair.tokenizer_hash().hex(),
        "files": {name: _told(file) for name, file in by_path.items()},
        "drafts": drafts,
    }
    return Offer(files, told)


def nothing(pair: Pair) -> dict[str, Any]:
    """What a hub tells nodes that delivers no files."""
    return {"format": FORMAT, "delivers": False, "pair": pair.name}


def _told(file: OfferedFile) -> list[int | str]:
    return [file.size, file.sha256.hex()]


def _hashed(path: Path, go_on: Callable[[], bool]) -> OfferedFile | None:
    digest, size = hashlib.sha256(), 0
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                if not go_on():
                    return None
                digest.update(chunk)
                size += len(chunk)
    except OSError as error:
        raise PairError(f"cannot read {path}: {error.strerror}") from None
    if size > MAX_FILE:
        raise PairError(f"{path} has {size} bytes; at most {MAX_FILE} are delivered")
    return OfferedFile(size, digest.digest(), path)
