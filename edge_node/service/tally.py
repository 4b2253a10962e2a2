"""What a service has done so far, as its `stats` tell it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from edge_node.service.worker import Job
from shared.buckets import Buckets

_SUMS = (
    "answers",
    "errors",
    "cancelled",
    "tokens",
    "streamed",
    "rounds",
    "drafted",
    "accepted",
    "rejected",
    "reopened",
)
_FIRST_TOKEN_S = (0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Tally:
    """Counts answers; tells its figures when they have changed."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._began_at = clock, clock()
        self.first_tokens = Buckets(_FIRST_TOKEN_S)  # seconds until the first token of answers that have any
        self.written = 0  # answers that have tokens
        self.written_s = 0.0  # seconds that these took
        self._sums = dict.fromkeys(_SUMS, 0)
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
            **{name: getattr(stats, name) for name in _SUMS[3:]},
        }
        self._sums = {name: total + added[name] for name, total in self._sums.items()}
        self._answered = {"answered_us": int(self._clock() * 1e6)}
        if stats.tokens:
            self.first_tokens.add(stats.first_token_s)
            self.written += 1
            self.written_s += stats.elapsed_s
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

    @property
    def figures(self) -> dict[str, Any]:
        """The sums, and what is known of the last answer."""
        return {**self._sums, **self._last}

    def changed(self, **now: Any) -> dict[str, Any] | None:
        """The figures and `now`, if anything has changed since they were told last; and when that is, in microseconds, and since when it counts."""
        figures = {**self.figures, **self._answered, **now}
        if figures == self._told:
            return None
        self._told = figures
        at = self._clock()
        return {**figures, "at_us": int(at * 1e6), "up_s": round(at - self._began_at, 3)}

    def forget_told(self) -> None:
        """Tell all again: the broker may have forgotten."""
        self._told = None
