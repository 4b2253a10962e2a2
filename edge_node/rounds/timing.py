"""What the times of verdicts tell about the pace."""

from __future__ import annotations

import time

from edge_node.rounds.pace import Pace
from shared.messages import Draft, Verdict


class Timing:
    """Of one answer: when the round that is under way was sent, and when the last verdict came; times are those of `time.monotonic`."""

    def __init__(self, pace: Pace) -> None:
        self.sent_at = 0.0
        self.awaits_first = True  # token of the answer
        self._pace = pace
        self._last_at: float | None = None  # when the last verdict came, if nothing disturbed what came after
        self._timed = False  # whether the round that is under way went undisturbed
        self._early_at: float | None = None  # when its early verdict came

    @property
    def left_s(self) -> float:
        """Seconds until the verdict on the block that was sent is expected; negative where it is late."""
        return self.sent_at + self._pace.wait_s - time.monotonic()

    def sent(self, timed: bool) -> None:
        """A round is sent now; `timed` says that the next verdict will be an answer to it."""
        self.sent_at = time.monotonic()
        self._timed = timed
        self._early_at = None

    def early(self, at: float) -> None:
        """An early verdict on the round under way came at that time."""
        self._early_at = at

    def disturb(self) -> None:
        """Something was sent besides, or sent again."""
        self._last_at, self._timed = None, False

    def learn(self, verdict: Verdict, answered: Draft | None, at: float) -> float | None:
        """Note what a verdict that came at that time tells; `answered` is the draft that it is the first answer to, if it is one.

        Returns the seconds since the verdict before, if they tell anything.
        """
        pace = self._pace
        hub_s = (verdict.forward_us + verdict.queued_us) / 1e6
        if answered is not None and self._timed:
            pace.trip_s.add(max(0.0, at - self.sent_at - hub_s))
            if answered.tokens:
                pace.block_s.add(at - self.sent_at)
                pace.early_s.add(0.0 if self._early_at is None else at - self._early_at)
        if verdict.forward_us and not (answered is not None and answered.append):
            pace.hub_s.add(hub_s)
            if answered is None or not answered.tokens:
                # As the hub says, for what arrives may have waited for credit.
                pace.stream_s.add(hub_s)
        self.awaits_first = False
        elapsed = None if self._last_at is None else at - self._last_at
        self._last_at = at
        return elapsed
