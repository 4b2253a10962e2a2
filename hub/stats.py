"""What the hub has done since it started, as published on its `stats` topic."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass
class HubStats:
    """Counters."""

    rounds: int = 0  # drafts that were answered with tokens of the target
    drafted: int = 0  # drafted tokens that were verified
    accepted: int = 0
    committed: int = 0  # tokens that the target committed, accepted ones included
    target_forwards: int = 0  # forwards that verified or decoded, besides prefill
    prefill_forwards: int = 0  # forwards that fed a prompt (and may have done the above for other sessions)
    forward_us: int = 0
    malformed: int = 0  # frames that could not be read
    faults: int = 0
    dropped: int = 0  # messages lost because too many waited

    def as_json(self, **more: float) -> dict[str, int | float]:
        """The counters, and what the caller adds."""
        return {**asdict(self), **more}
