"""Where programs keep what they can do without."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """Below XDG_CACHE_HOME, if that is absolute, or ~/.cache.

    A user without a home gets a place where nothing is found and nothing can be kept.
    """
    given = Path(os.environ.get("XDG_CACHE_HOME", ""))
    try:
        return (given if given.is_absolute() else Path.home() / ".cache") / "sled"
    except RuntimeError:
        return Path(os.devnull) / "sled"
