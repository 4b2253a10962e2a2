"""The folder in which something is made that takes long: beside the one that is wanted, whose name it gets once all is there."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared.errors import PairError, SledError

_WISH = "wish.json"


@dataclass(frozen=True)
class Workplace:
    """What is in `folder` stays, what is in `scratch`, a folder in it, does not."""

    folder: Path
    scratch: Path


@contextlib.contextmanager
def workplace(out: Path, wish: Mapping[str, Any]) -> Iterator[Workplace]:
    """A place to make `out` in, which must not be there yet, or be empty.

    After a SledError nothing stays behind. After any other end, one without warning too, the folder stays, and whoever wants the same,
    which `wish` says as JSON, finds it again. Raises PairError where `out` is there, another program is at work on it, or the disk does not take it.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise PairError(f"{out} is there already; remove it, or give another --out")
    place = Workplace(out.with_name(f".{out.name}.making"), out.with_name(f".{out.name}.making") / "making")
    try:
        place.folder.mkdir(parents=True, exist_ok=True)
        with _alone(place.folder):
            _forget_another(place, json.dumps(wish, sort_keys=True))
            try:
                yield place
            except SledError:
                shutil.rmtree(place.folder, ignore_errors=True)
                raise
            shutil.rmtree(place.scratch)
            if out.exists():
                out.rmdir()
            place.folder.rename(out)
    except OSError as error:
        raise PairError(
            f"cannot write {place.folder}: {error.strerror or error}; mend that, and run it again to go on"
        ) from None


def write_whole(path: Path, text: str) -> None:
    """Write a file that is there as a whole or not at all."""
    half = path.with_name(f"{path.name}.half")
    half.write_text(text, encoding="utf-8")
    half.replace(path)


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the folder. Raises PairError where another program does."""
    held = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(held)
        raise PairError(f"another program is at work in {folder}; wait for it") from None
    try:
        yield
    finally:
        os.close(held)


def _forget_another(place: Workplace, asked: str) -> None:
    """Empty the folder if it is of another wish."""
    path = place.scratch / _WISH
    if path.exists() and path.read_text(encoding="utf-8") == asked:
        return
    for each in place.folder.iterdir():
        shutil.rmtree(each) if each.is_dir() and not each.is_symlink() else each.unlink()
    place.scratch.mkdir()
    write_whole(path, asked)
