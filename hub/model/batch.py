"""A batch: the rows of one forward, as one flat sequence without padding."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from shared.guide import Masks
from shared.sampling_parameters import Sampling

if TYPE_CHECKING:
    import torch

    from hub.model.attention import AttentionPlan, Span


@dataclass(frozen=True)
class Row:
    """One text's part of a batch: ids at positions [start, end), with logits wanted of the last `wanted`.

    A verify row is [last committed, d₁ … d_γ] with γ + 1 logits. A stream row is the last committed id with one. A chunk
    of a long prompt has one too, by which it shows that there are numbers.
    """

    pages: Sequence[int]  # position p lies in pages[p // PAGE_SIZE], up to `end` at least
    start: int
    ids: tuple[int, ...]
    wanted: int
    sampling: Sampling = field(default_factory=Sampling)  # of the wanted tokens
    masks: Masks | None = None  # of the wanted tokens those that may come; None: any
    wants_surprisal: bool = False  # of the wanted tokens

    @property
    def end(self) -> int:
        """One past the last position."""
        return self.start + len(self.ids)

    @property
    def verifies(self) -> bool:
        """Whether it has drafted tokens."""
        return self.wanted > 1


def flatten(rows: Sequence[Row]) -> tuple[list[int], list[int], list[int]]:
    """The rows as one sequence: its ids, their positions, and the indices whose logits are wanted."""
    ids: list[int] = []
    positions: list[int] = []
    for row in rows:
        ids.extend(row.ids)
        positions.extend(range(row.start, row.end))
    return ids, positions, places_wanted(rows)


def places_wanted(rows: Sequence[Row], of: Callable[[Row], bool] = lambda _: True) -> list[int]:
    """The indices into the rows' flat sequence whose logits are wanted, by those rows that `of` holds for."""
    places: list[int] = []
    end = 0
    for row in rows:
        end += len(row.ids)
        if of(row):
            places.extend(range(end - row.wanted, end))
    return places


@dataclass(frozen=True)
class Inputs:
    """A batch as tensors: ids and positions [1, tokens], the places whose logits are wanted, and what attention needs."""

    ids: torch.Tensor
    positions: torch.Tensor
    wanted: torch.Tensor
    plan: AttentionPlan
    spans: Sequence[Span] = ()  # of the rows
