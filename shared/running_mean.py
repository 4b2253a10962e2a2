"""A mean in which newer measurements count more."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class RunningMean:
    """The first measurements count alike; from 1 / `rate` of them on, each has the weight `rate`.

    `value` at the start counts as `believed` measurements: with 0 the first measurement replaces it.
    """

    value: float = 0.0
    rate: float = 0.1
    believed: int = 0
    count: int = 0  # measurements so far

    def add(self, value: float) -> None:
        """Take in a measurement."""
        self.count += 1
        self.value += max(self.rate, 1 / (self.believed + self.count)) * (value - self.value)
