"""What a node asks of whatever drafts for it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

from shared.sampling_parameters import Sampling


@dataclass(frozen=True, slots=True)
class Guess:
    """A drafted token."""

    token: int
    confidence: float  # how likely the drafter holds it, given the ids before
    source: str  # which drafter it is from: confidences and times of two can't be compared
    runner_up: int | None = None  # what the drafter would say if this is wrong
    aside: Guess | None = None  # what another drafter says here, to be judged beside


class Drafter(Protocol):
    """Drafts for one session at a time."""

    @property
    def context(self) -> int:
        """The ids it can take into account."""

    def draft(self, ids: Sequence[int], sampling: Sampling) -> Iterator[Guess | None]:
        """Tokens behind `ids`, the whole text so far, each drafted when it is asked for.

        None is a piece of work after which there is nothing to show yet, such as a part of a long prompt. Ends behind an id
        that ends a turn, at the end of the context, and where the drafter has no idea. `ids` must not change meanwhile;
        other drafts may be begun and gone on with in between. Raises ValueError when `ids` is empty.
        """


def first_tokens(drafter: Drafter, ids: Sequence[int], count: int, sampling: Sampling) -> tuple[int, ...]:
    """Up to `count` tokens behind `ids`."""
    return tuple(islice((guess.token for guess in drafter.draft(ids, sampling) if guess is not None), count))
