"""A drafter each of whose pieces of work is noted: when it began, when it ended, what it brought."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

from edge_node.drafting.drafter import Drafter, Guess
from shared.sampling_parameters import Sampling


class TracedDrafter:
    """Drafts as `drafter` does. `note` is given the times of a piece (`time.monotonic_ns`), and how many tokens it brought."""

    def __init__(self, drafter: Drafter, note: Callable[[int, int, int], None]) -> None:
        self._drafter, self._note = drafter, note

    @property
    def context(self) -> int:
        """See `Drafter`."""
        return self._drafter.context

    def draft(self, ids: Sequence[int], sampling: Sampling) -> Iterator[Guess | None]:
        """See `Drafter`."""
        return self._traced(self._drafter.draft(ids, sampling))

    def _traced(self, pieces: Iterator[Guess | None]) -> Iterator[Guess | None]:
        while True:
            began = time.monotonic_ns()
            try:
                guess = next(pieces)
            except StopIteration:
                return
            self._note(began, time.monotonic_ns(), int(guess is not None))
            yield guess
