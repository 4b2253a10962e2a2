"""Early verdicts: what the target's exit expects of a forward, published while the forward goes on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch

from hub.engine.scheduler import PlannedRow
from hub.engine.stats import HubStats
from hub.model.batch import Row, places_wanted
from hub.model.exits import Asked
from hub.model.sampling import draw_wanted, guided
from hub.sessions.session import HubSession, SessionKey
from shared.messages import AnyMessage, Early, Verdict


class EarlyVerdicts:
    """Sends them to the sessions whose drafted tokens a forward verifies, and counts how many were right.

    They leave before the verdicts of their forward, on the same thread.
    """

    def __init__(
        self,
        rest: float | None,
        least_s: float,
        vocab_size: int,
        publish: Callable[[SessionKey, AnyMessage], None],
        stats: HubStats,
    ) -> None:
        """`rest` is the share of the target behind its exit, if it has one; where that takes less than `least_s` none are sent."""
        self._rest = rest
        self._least_s = least_s
        self._vocab_size = vocab_size
        self._publish = publish
        self._stats = stats
        self._sent: dict[SessionKey, Early] = {}  # of the forward that runs, or ran last

    def asked_of(self, planned: Sequence[PlannedRow], rows: Sequence[Row], forward_s: float) -> Asked | None:
        """What to ask of a forward over `rows`, those of `planned`, that takes about `forward_s` seconds."""
        self._sent.clear()
        verifying = [(plan.session, row) for plan, row in zip(planned, rows, strict=True) if row.verifies]
        if self._rest is None or self._rest * forward_s < self._least_s or not verifying:
            return None
        return Asked(places_wanted(rows, lambda row: row.verifies), partial(self._tell, verifying))

    def compare(self, key: SessionKey, verdict: Verdict) -> None:
        """The session's verdict is known: count whether the early one was the same."""
        early = self._sent.pop(key, None)
        if early is not None:
            self._stats.early_right += (early.accepted, early.ids) == (verdict.accepted, verdict.ids)

    def _tell(self, verifying: Sequence[tuple[HubSession, Row]], logits: torch.Tensor) -> None:
        rows = [row for _, row in verifying]
        told = draw_wanted(guided(logits, rows, self._vocab_size), rows, self._vocab_size)
        for (session, _), drawn in zip(verifying, told, strict=True):
            if drawn is None:
                continue
            accepted, own = session.judged(drawn)
            early = Early(session.round, session.committed, accepted, own)
            self._publish(session.key, early)
            self._sent[session.key] = early
            self._stats.early += 1
