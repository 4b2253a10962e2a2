"""What a service has done so far, as its `stats` tell it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from edge_node.service.worker import Job


class Tally:
    """Counts answers; tells its figures when they have changed."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._began_at = clock, clock()
        self._sums = dict.fromkeys(("answers", "errors", "cancelled", "tokens", "drafted", "accepted"), 0)
        self._last: dict[str, Any] = {}  # of the last answer
        self._answered: dict[str, int] = {}  # when the last answer ended, by the clock of `at_us`
        self._told: dict[str, Any] | None = None

    def add(self, job: Job) -> None:
        """A request is over."""
        stats = job.answer.stats
        added = {
            "answers": 1,
            "errors": int(bool(job.error)),
            "cancelled": int(job.is_unwanted.is_set()),
            "tokens": stats.tokens,
            "drafted": stats.drafted,
            "accepted": stats.accepted,
        }
        self._sums = {name: total + added[name] for name, total in self._sums.items()}
        self._answered = {"answered_us": int(self._clock() * 1e6)}
        if stats.tokens:
            self._last = {
                "mode": stats.mode,
                "tokens_per_s": round(1e3 / stats.ms_per_token, 2) if stats.ms_per_token else None,
                "first_token_ms": round(1e3 * stats.first_token_s, 2),
                "rtt_ms": round(stats.rtt_ms, 2),
                "acceptance": round(stats.accepted / stats.drafted, 3) if stats.drafted else None,
                "drafting_s": round(stats.cost.drafting_s, 3),
                "joules": None if stats.cost.joules is None else round(stats.cost.joules, 3),
                "energy": stats.cost.known.value,
            }

    def changed(self, **now: Any) -> dict[str, Any] | None:
        """The figures and `now`, if anything has changed since they were told last; and when that is, in microseconds, and since when it counts."""
        figures = {**self._sums, **self._last, **self._answered, **now}
        if figures == self._told:
            return None
        self._told = figures
        at = self._clock()
        return {**figures, "at_us": int(at * 1e6), "up_s": round(at - self._began_at, 3)}

    def forget_told(self) -> None:
        """Tell all again: the broker may have forgotten."""
        self._told = None
