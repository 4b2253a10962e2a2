"""Small text files that a user names: read within bounds, and with a sentence for all that can be wrong with them."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path
from typing import Any

from shared.errors import SledError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

MOST_BYTES = 2**20
MOST_TOML = 2**16  # bytes
_MOST_DOTS = 200  # in a line: the time that a key with points takes grows with the square of their number


def read_text(path: Path, what: str, wrong: type[SledError], *, most: int = MOST_BYTES, private: bool = False) -> str:
    """The text of a regular file in UTF-8 of at most `most` bytes, without a byte order mark.

    `what` is what the sentences call it, such as "the settings file". Raises `wrong` for anything else, and for a `private`
    file that others than its owner may read or write. It never waits: a pipe is refused, not opened for reading.
    """
    try:
        content = _read(path, what, wrong, most, private=private)
    except OSError as error:
        raise wrong(f"cannot read {what} {path}: {error.strerror}") from None
    except ValueError:  # of a path: a NUL, or half of a surrogate pair
        raise wrong(f"cannot read {what} {str(path)!r}: no file has such a name") from None
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise wrong(f"{what} {path} is not UTF-8 text (byte {error.start + 1}); save it as UTF-8") from None


def read_toml(path: Path, what: str, wrong: type[SledError]) -> dict[str, Any]:
    """The tables of a small TOML file. Raises `wrong` as `read_text` does, and for what is not TOML."""
    text = read_text(path, what, wrong, most=MOST_TOML)
    try:
        return parse_toml(text)
    except ValueError as error:
        raise wrong(f"{what} {path} is not valid TOML: {error}") from None


def parse_toml(text: str) -> dict[str, Any]:
    """The tables of a small TOML text. Raises ValueError, also for tables that nest too deep and for integers of thousands of digits."""
    try:
        if any(line.count(".") > _MOST_DOTS for line in text.splitlines()):
            raise RecursionError
        return tomllib.loads(text)
    except RecursionError:
        raise ValueError("it nests too deep") from None


def _read(path: Path, what: str, wrong: type[SledError], most: int, *, private: bool) -> bytes:
    # Opened first and looked at then, so that it is the same file; a pipe without a writer would be waited for.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        found = os.fstat(descriptor)
        if stat.S_ISDIR(found.st_mode):
            raise wrong(f"{what} {path} is a folder; name a file in it")
        if not stat.S_ISREG(found.st_mode) and not _is_null(found):
            raise wrong(f"{what} {path} is not a regular file; save what it gives to one")
        if private and stat.S_IMODE(found.st_mode) & 0o077:
            raise wrong(f"others can read {path}; run: chmod 600 {path}, and have a new one made if someone did")
        content = b""
        while len(content) <= most and (piece := os.read(descriptor, most + 1 - len(content))):
            content += piece
    finally:
        os.close(descriptor)
    if len(content) > most:
        raise wrong(f"{what} {path} is larger than {most} bytes; it can't be one")
    return content


def _is_null(found: os.stat_result) -> bool:
    """Whether it is the null device, which people name for an empty file."""
    return stat.S_ISCHR(found.st_mode) and found.st_rdev == Path(os.devnull).stat().st_rdev
