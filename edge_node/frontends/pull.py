"""Fetching a pair from a hub, with a progress bar."""

from __future__ import annotations

from contextlib import closing

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from edge_node.delivery.hub_files import HubFiles
from edge_node.delivery.pull import find
from edge_node.delivery.pull import pull as fetch
from edge_node.delivery.store import PairStore
from edge_node.settings import NodeSettings
from shared.errors import DeliveryError
from shared.manifest import is_name
from shared.pair import built_in_pairs
from shared.settings import shown
from shared.streams import put_line


def pull(settings: NodeSettings, hub: str = "") -> None:
    """Fetch what is missing of the pair, and say what there is then. Raises DeliveryError or LinkError."""
    name = settings.pair
    if name in built_in_pairs():
        raise DeliveryError(f"{name!r} is a built-in pair, which is here already; name another with --pair")
    if not is_name(name):
        raise DeliveryError(f"{shown(name)} is no name of a pair that a hub could have; name one with --pair")
    with closing(HubFiles(settings.broker, settings.name)) as files:
        found = find(files.offers(), name, settings.draft, hub)
        store = PairStore(name)
        store.forgive()
        with _progress() as progress:
            bar = _Bar(progress, f"{name}, draft {found.draft.name}, from {found.hub}")
            changed = fetch(files, found, store, bar)
    put_line(
        f"{name}: draft {found.draft.name} of hub {found.hub} is {'here' if changed else 'here already'}; "
        f"use it with --pair {name}"
    )


class _Bar:
    """A download on a progress bar."""

    def __init__(self, progress: Progress, what: str) -> None:
        self._progress, self._task = progress, progress.add_task(what, total=None)

    def begin(self, total: int, there: int) -> None:
        """See `edge_node.delivery.pull.Progress`."""
        self._progress.reset(self._task, total=total, completed=there)

    def advance(self, size: int) -> None:
        """See `edge_node.delivery.pull.Progress`."""
        self._progress.advance(self._task, size)


def _progress() -> Progress:
    """With rate and rest, on standard error, where that is a terminal."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    return Progress(*columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal)
