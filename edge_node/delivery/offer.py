"""What a hub says that it delivers, read from its retained message."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from shared.errors import ProtocolError
from shared.json_object import json_object
from shared.manifest import is_name
from shared.messages import MAX_FILE, SHA256_BYTES
from shared.pair import MANIFEST

FORMAT = 1
_MOST_BYTES = 65_536  # of the message
_MOST_DRAFTS = _MOST_FILES = 64
_LONGEST_PATH = 255  # bytes
_MOST_STEP = 2**50


@dataclass(frozen=True)
class OfferedFile:
    """A file of a pair, by its path in the pair's folder."""

    path: str
    size: int
    sha256: bytes


@dataclass(frozen=True)
class OfferedDraft:
    """A draft and all files of a pair's folder that a device needs with it, the manifest first."""

    name: str
    acceptance: float | None
    step_bytes: int | None
    files: tuple[OfferedFile, ...]

    @property
    def version(self) -> str:
        """The name of this very set of files: the manifest has the hashes of the others."""
        return self.files[0].sha256.hex()[:16]


@dataclass(frozen=True)
class Offer:
    """What one hub delivers: nothing where it has no drafts."""

    pair: str
    tokenizer: str  # its hash, hexadecimal
    delivers: bool
    drafts: dict[str, OfferedDraft]


def read_offer(payload: bytes) -> Offer:
    """The offer in a hub's message. Raises ProtocolError for what is none, or names files where no pair may have any."""
    if len(payload) > _MOST_BYTES:
        raise ProtocolError(f"{len(payload)} bytes are too many for what a hub offers")
    told = json_object(payload, "what a hub offers")
    if told.get("format") != FORMAT:
        raise ProtocolError(f"what the hub offers is not in format {FORMAT}; update the older side")
    pair = told.get("pair")
    if not isinstance(pair, str) or not is_name(pair):
        raise ProtocolError("the hub offers a pair without a proper name")
    if told.get("delivers") is not True:
        return Offer(pair, "", delivers=False, drafts={})
    files = {
        _path(path): _file(path, fact) for path, fact in _table(told.get("files"), _MOST_FILES * _MOST_DRAFTS).items()
    }
    drafts = {
        name: _draft(name, draft, files)
        for name, draft in _table(told.get("drafts"), _MOST_DRAFTS).items()
        if is_name(name)
    }
    return Offer(pair, str(told.get("tokenizer"))[:64], delivers=True, drafts=drafts)


def _draft(name: str, told: object, files: Mapping[str, OfferedFile]) -> OfferedDraft:
    table = _table(told, 16)
    paths = table.get("files")
    if not isinstance(paths, list) or len(paths) > _MOST_FILES or not all(path in files for path in map(str, paths)):
        raise ProtocolError("a draft has files that the hub does not offer")
    own = (_file(MANIFEST, table.get("manifest")), *(files[str(path)] for path in paths))
    step = _number(table.get("step_bytes"), _MOST_STEP)
    return OfferedDraft(name, _number(table.get("acceptance"), 1), None if step is None else int(step), own)


def _table(value: object, most: int) -> dict[str, Any]:
    if not isinstance(value, dict) or len(value) > most:
        raise ProtocolError(f"what the hub offers lacks a table, or has one of more than {most} lines")
    return value


def _file(path: str, fact: object) -> OfferedFile:
    match fact:
        case [int(size), str(digest)] if type(size) is int and 0 <= size <= MAX_FILE:
            try:
                sha256 = bytes.fromhex(digest)
            except ValueError:
                sha256 = b""
            if len(sha256) == SHA256_BYTES:
                return OfferedFile(path, size, sha256)
    raise ProtocolError("a file that the hub offers has no proper size and hash")


def _path(path: str) -> str:
    """`path`, if it leads to a place of its own below a folder."""
    pure = PurePosixPath(path)
    if (
        not path.isprintable()
        or len(path.encode("utf-8", "replace")) > _LONGEST_PATH
        or pure.is_absolute()
        or pure.as_posix() != path
        or ".." in pure.parts
        or path in (".", MANIFEST)
    ):
        raise ProtocolError("a file that the hub offers has a path that no file of a pair may have")
    return path


def _number(value: object, most: float) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most:
        raise ProtocolError(f"what the hub says of a draft must be numbers from 0 to {most:g}")
    return value
