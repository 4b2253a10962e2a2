"""Steps of work that takes minutes, as they begin."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console


@contextmanager
def steps() -> Iterator[Callable[[str], None]]:
    """To be told what is done now; shown on standard error until the next step, or the end."""
    console = Console(stderr=True, highlight=False, markup=False)
    with console.status("") as status:

        def step(what: str) -> None:
            console.print(what)
            status.update(what)

        yield step
