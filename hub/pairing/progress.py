"""What somebody who waits for a long piece of work is told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class Progress(Protocol):
    """Told of steps, and how far each is."""

    def say(self, what: str) -> None:
        """A step begins."""

    def of(self, what: str, total: int) -> Callable[[int], None]:
        """A step begins that has so many parts; call what comes back with the number of those that were done."""
