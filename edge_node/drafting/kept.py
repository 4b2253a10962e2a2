"""Small JSON files in which a device keeps what it has learnt of a drafter; it goes on without where they can't be read or written."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from shared.errors import SettingsError
from shared.text_file import read_text

log = logging.getLogger(__name__)

Content = TypeVar("Content")

_MOST_BYTES = 65_536  # of a file


def read_kept(file: Path, what: str, of: Callable[[Any], Content], without: Content) -> Content:
    """What `of` makes of the file's JSON; `without` where the file is missing or is none that was kept.

    `of` may raise ValueError, AttributeError, KeyError or TypeError for a content that it can't take.
    """
    if not os.path.lexists(file):
        return without
    try:
        return of(json.loads(read_text(file, what, SettingsError, most=_MOST_BYTES)))
    except (SettingsError, ValueError, AttributeError, KeyError, TypeError, RecursionError) as error:
        log.warning("what was learnt of the drafter is not read from %s: %s", file, error)
        return without


def keep(file: Path, content: Any) -> None:
    """Have the file, which is replaced as a whole, hold `content` as JSON; a device without room for it goes on without."""
    fresh = file.with_name(f"{file.name}.{os.getpid()}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        fresh.write_text(json.dumps(content))
        fresh.replace(file)
    except OSError as error:
        with suppress(OSError):
            fresh.unlink()
        log.warning("what was learnt of the drafter is not kept in %s: %s", file, error)
