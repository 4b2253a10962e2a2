"""Rates: differences of a program's counters over the program's own clock, whenever its messages arrive."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

_SPAN_S = 5.0  # seconds of the program's clock that a rate is of, where there are as many
_LEAST_S = 0.5  # of which there is a rate at all
_MOST = 16  # samples, however densely they come
_SAME_BEGIN_S = 0.5  # by which two words of one run may differ about its beginning


@dataclass(frozen=True)
class Sample:
    """Counters at `at_s` of the program's clock, which has run for `up_s` seconds by then, if it says that."""

    at_s: float
    up_s: float | None
    counters: Mapping[str, float]

    def is_of_another_run(self, before: Sample) -> bool:
        """Whether the program was started between both: counters and clocks only grow."""
        if self.at_s < before.at_s or any(self.counters.get(k, -1) < v for k, v in before.counters.items()):
            return True
        if self.up_s is None or before.up_s is None:
            return False
        return abs((self.at_s - self.up_s) - (before.at_s - before.up_s)) > _SAME_BEGIN_S


class Samples:
    """The last seconds of one run."""

    def __init__(self) -> None:
        self._samples: deque[Sample] = deque(maxlen=_MOST)

    def add(self, sample: Sample) -> None:
        """Take the next one; a new run's counters are not compared with those of the run before."""
        samples = self._samples
        if samples and sample.is_of_another_run(samples[-1]):
            samples.clear()
        if samples and sample.at_s == samples[-1].at_s:
            return  # it was told twice
        samples.append(sample)
        while len(samples) > 2 and sample.at_s - samples[0].at_s > _SPAN_S:
            samples.popleft()

    @property
    def span_s(self) -> float:
        """Seconds that rates are of; 0 while there are none."""
        span_s = self._samples[-1].at_s - self._samples[0].at_s if self._samples else 0.0
        return span_s if span_s >= _LEAST_S else 0.0

    def gain(self, *counters: str) -> float | None:
        """By how much these counters have grown together in `span_s`; None while there are no rates, or without such a counter."""
        if not self.span_s:
            return None
        begin, end = self._samples[0].counters, self._samples[-1].counters
        if not all(name in begin and name in end for name in counters):
            return None
        return sum(end[name] - begin[name] for name in counters)

    def rate(self, *counters: str) -> float | None:
        """The same for each second."""
        gain = self.gain(*counters)
        return None if gain is None else gain / self.span_s
