"""How many of the values that came lay within which bounds: what is left of them to tell later how many were slow."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate


class Buckets:
    """To be filled on one thread; another may read."""

    def __init__(self, bounds: Sequence[float]) -> None:
        """`bounds` in rising order, each the largest value of its bucket; above the last one is one more."""
        self.bounds = tuple(bounds)
        self.total = 0.0  # of all values
        self._counts = [0] * (len(self.bounds) + 1)

    def add(self, value: float) -> None:
        """Count a value."""
        self._counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    @property
    def up_to(self) -> list[int]:
        """The number of values up to each bound, and at last of all."""
        return list(accumulate(self._counts))
