"""What the hub has done since it started, as published on its `stats` topic."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from hub.engine.scheduler import PlannedRow


@dataclass
class HubStats:
    """Counters."""

    rounds: int = 0  # drafts that were answered with tokens of the target
    speculated: int = 0  # rounds that came with drafted tokens
    drafted: int = 0  # drafted tokens that were verified
    accepted: int = 0
    trimmed: int = 0  # drafted tokens that were not verified, as they would not have paid for their place
    early: int = 0  # early verdicts that were sent
    early_right: int = 0  # early verdicts whose verdict was the same
    committed: int = 0  # tokens that the target committed, accepted ones included
    target_forwards: int = 0  # forwards that verified or decoded, besides prefill
    prefill_forwards: int = 0  # forwards that fed a prompt (and may have done the above for other sessions)
    rows: int = 0  # sessions' parts in all of these
    forward_us: int = 0  # microseconds in forwards, sampling included
    model_us: int = 0  # microseconds in the model's own part of forwards
    last_forward_us: int = 0
    guiding_us: int = 0  # microseconds in which grammars were followed
    waited_us: int = 0  # microseconds without work, or waiting for the window to close
    prefill_tokens: int = 0  # ids of prompts that were computed
    shared_tokens: int = 0  # ids of prompts that were not computed, since other sessions had computed them
    faults: int = 0

    def count_forward(self, rows: Sequence[PlannedRow], seconds: float, model_seconds: float) -> None:
        """Count a forward of `rows`."""
        self.rows += len(rows)
        self.last_forward_us = int(seconds * 1e6)
        self.forward_us += self.last_forward_us
        self.model_us += int(model_seconds * 1e6)
        if any(row.prefill for row in rows):
            self.prefill_forwards += 1
        else:
            self.target_forwards += 1
        self.prefill_tokens += sum(row.end - row.start - max(0, row.wanted - 1) for row in rows if row.prefill)

    def as_json(self, **more: float) -> dict[str, int | float]:
        """The counters, and what the caller adds."""
        return {**asdict(self), **more}
