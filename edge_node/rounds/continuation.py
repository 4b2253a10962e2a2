"""What a drafter says behind one text, token by token."""

from __future__ import annotations

from collections.abc import Iterator

from edge_node.drafting.drafter import Guess


class Continuation:
    """The guesses so far, and the draft that more of them come from."""

    def __init__(self, draft: Iterator[Guess | None]) -> None:
        self.guesses: list[Guess] = []
        self.ended = False  # whether it is known that no more will come
        self._draft = draft

    def grow(self) -> bool:
        """Do a piece of work; whether it has brought a guess."""
        drafted = next(self._draft, _END)
        if isinstance(drafted, Guess):
            self.guesses.append(drafted)
            return True
        self.ended = drafted is _END
        return False


_END = object()
