"""How long verdicts take: what a node's rounds have shown so far, and the clock of one answer that measures it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from shared.messages import Draft, Verdict
from shared.running_mean import RunningMean

_FIRST_WAIT_S = 0.02  # assumed of a hub that has not answered yet
TRUSTED = 4  # measurements that a choice needs


def _first_wait() -> RunningMean:
    return RunningMean(_FIRST_WAIT_S)


@dataclass
class RoundTimes:
    """Means in seconds. The timing of an answer in progress adds to them."""

    block_s: RunningMean = field(default_factory=_first_wait)  # from sending a block to its verdict
    trip_s: RunningMean = field(default_factory=_first_wait)  # of a round, drafted or not: the part outside the hub
    hub_s: RunningMean = field(default_factory=RunningMean)  # of a round: the part in the hub, queue and forward
    stream_s: RunningMean = field(default_factory=RunningMean)  # in the hub, for a streamed token
    early_s: RunningMean = field(default_factory=RunningMean)  # from an early verdict to the verdict, 0 where none came

    @property
    def wait_s(self) -> float:
        """Seconds from a block to its verdict."""
        return self.block_s.value if self.block_s.count >= TRUSTED else self.trip_s.value + self.hub_s.value


class Timing:
    """Of one answer: when the round under way was sent, and when the last verdict came. Times are the clock's."""

    def __init__(self, times: RoundTimes, clock: Callable[[], float] = time.monotonic) -> None:
        self.sent_at = 0.0
        self.awaits_first = True  # token of the answer
        self._times = times
        self._clock = clock
        self._last_at: float | None = None  # when the last verdict came, if nothing disturbed what came after
        self._undisturbed = False  # whether the round under way is, so that the next verdict answers it
        self._early_at: float | None = None  # when the early verdict of the round under way came

    @property
    def left_s(self) -> float:
        """Seconds until the verdict on the block that was sent is expected; negative where it is late."""
        return self.sent_at + self._times.wait_s - self._clock()

    def start_round(self, *, answered_next: bool) -> None:
        """A round is sent now; `answered_next` says that the next verdict will be an answer to it."""
        self.sent_at = self._clock()
        self._undisturbed = answered_next
        self._early_at = None

    def early(self, at: float) -> None:
        """An early verdict on the round under way came at that time."""
        self._early_at = at

    def disturb(self) -> None:
        """Something was sent besides, or sent again."""
        self._last_at, self._undisturbed = None, False

    def learn(self, verdict: Verdict, answered: Draft | None, at: float) -> float | None:
        """Measure by a verdict that came at that time; `answered` is the draft that it is the first answer to, if it is one.

        Returns the seconds since the verdict before, or None where something disturbed them.
        """
        times = self._times
        hub_s = (verdict.forward_us + verdict.queued_us) / 1e6
        if answered is not None and self._undisturbed:
            times.trip_s.add(max(0.0, at - self.sent_at - hub_s))
            if answered.tokens:
                times.block_s.add(at - self.sent_at)
                times.early_s.add(0.0 if self._early_at is None else at - self._early_at)
        if verdict.forward_us and not (answered is not None and answered.append):
            times.hub_s.add(hub_s)
            if answered is None or not answered.tokens:
                # As the hub says: what arrives here may have waited for credit.
                times.stream_s.add(hub_s)
        self.awaits_first = False
        elapsed = None if self._last_at is None else at - self._last_at
        self._last_at = at
        return elapsed
