"""Where programs keep what they can do without, and what they were given."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """Below XDG_CACHE_HOME, if that is absolute, or ~/.cache.

    A user without a home gets a place where nothing is found and nothing can be kept.
    """
    return _folder("XDG_CACHE_HOME", ".cache")


def data_folder() -> Path:
    """Below XDG_DATA_HOME, if that is absolute, or ~/.local/share, which for a service lies in its StateDirectory; else as `cache_folder`."""
    return _folder("XDG_DATA_HOME", ".local/share")


def _folder(variable: str, usual: str) -> Path:
    given = Path(os.environ.get(variable, ""))
    try:
        return (given if given.is_absolute() else Path.home() / usual) / "sled"
    except RuntimeError:
        return Path(os.devnull) / "sled"
