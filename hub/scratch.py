"""Folders for what libraries keep beside a hub: torch asks for one as soon as it is imported, and Triton keeps kernels in one."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

_IN_MEMORY = Path("/dev/shm")  # noqa: S108 - where there is room when every disk is full
_KERNELS = "TRITON_CACHE_DIR"


def find_scratch() -> None:
    """Have them take folders in which something can be written, also where the disk is full or the user has no home."""
    try:
        tempfile.gettempdir()
    except FileNotFoundError:
        tempfile.tempdir = str(_IN_MEMORY)
    if _KERNELS not in os.environ and not _is_open(_home() / ".triton" / "cache"):
        os.environ[_KERNELS] = str(Path(tempfile.gettempdir()) / f"sled-kernels-{os.getuid()}")


def _home() -> Path:
    try:
        return Path(os.environ.get("TRITON_HOME") or Path.home())
    except RuntimeError:
        return Path(os.devnull)


def _is_open(folder: Path) -> bool:
    """Whether the folder could be made, or written to if it is there."""
    nearest = next(each for each in (folder, *folder.parents) if os.path.lexists(each))
    return nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK)
