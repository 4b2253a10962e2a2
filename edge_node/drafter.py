"""What a node asks of whatever drafts for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from shared.sampling import Sampling


@dataclass(frozen=True)
class Block:
    """Drafted tokens d_1, d_2, ..., and for each how likely the drafter holds it, given those before."""

    tokens: tuple[int, ...]
    confidences: tuple[float, ...]


class Drafter(Protocol):
    """Drafts for one session at a time."""

    @property
    def context(self) -> int:
        """The ids it can take into account."""

    def prefill(self, ids: Sequence[int]) -> None:
        """Do ahead what can be done of drafting behind `ids`."""

    def draft(self, ids: Sequence[int], count: int, sampling: Sampling, *, threshold: float = 0.0) -> Block:
        """Draft up to `count` tokens behind `ids`, the whole committed sequence; none where it has no idea.

        The block ends early behind an id that ends a turn, and before the first token whose confidence is under
        `threshold`; its first token is proposed all the same. Raises ValueError when `ids` is empty.
        """

    def learn(self, ids: Sequence[int]) -> None:
        """Hear what the target wrote at the places of the block drafted last, or of the first of them."""
