"""The pair of a target that is served without one: made once, and kept in the hub's cache."""

from __future__ import annotations

import hashlib
from pathlib import Path

from hub.pairing.listing import MADE
from hub.pairing.making import Wish, make_pair
from hub.pairing.shown import put_made, shown
from hub.pairing.source import find_source
from hub.settings import HubSettings
from shared.pair import MANIFEST

_DIGITS = 8  # of a hash that tells pairs of one target apart


def pair_of(settings: HubSettings) -> str:
    """The folder of the pair of `settings.target` and `settings.draft`. Raises SledError where it can't be made."""
    assert settings.cache_folder is not None
    target, draft = named(settings.target), named(settings.draft) if settings.draft else None
    wish = Wish(target=target, draft=draft, device=settings.device)
    told = hashlib.sha256(f"{target}\n{draft}".encode()).hexdigest()[:_DIGITS]
    folder = settings.cache_folder / MADE / f"{find_source(target).name}-{told}"
    if not (folder / MANIFEST).exists():
        with shown() as progress:
            figures = make_pair(wish, folder, progress)
        put_made(folder, figures, as_json=False)
    return str(folder)


def named(model: str) -> str:
    """A model's name that means the same in another working directory: paths that are there become absolute."""
    path = Path(model).expanduser() if "\0" not in model else Path()
    return str(path.resolve()) if "\0" not in model and path.exists() else model
