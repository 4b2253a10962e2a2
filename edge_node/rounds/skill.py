"""What a node's drafter is worth: how long a drafted token takes and how often it is right, as measured."""

from __future__ import annotations

from dataclasses import dataclass, field

from shared.running_mean import RunningMean

_RATE = 0.02  # weight of a new measurement in a mean of chances, which takes many
_BELIEVED = 5  # measurements that a first chance counts for
_EARLY_BELIEVED = 10  # early verdicts that the first chance counts for


@dataclass
class DraftSkill:
    """Of one drafter with one target. The lookahead measures it."""

    draft_s: RunningMean = field(default_factory=lambda: RunningMean(0.005))  # seconds of one drafted token
    # Chance that a drafted token is accepted if those before it were.
    acceptance: RunningMean = field(default_factory=lambda: RunningMean(0.7, _RATE, _BELIEVED))
    # Chance that the second choice is right where the first is not.
    runner_up: RunningMean = field(default_factory=lambda: RunningMean(0.4, _RATE, _BELIEVED))
    # Chance that an early verdict is what the verdict will be.
    early_right: RunningMean = field(default_factory=lambda: RunningMean(0.8, _RATE, _EARLY_BELIEVED))

    @property
    def acceptance_weight(self) -> float:
        """How many measurements the acceptance rests on."""
        return min(self.acceptance.count + _BELIEVED, 1 / _RATE)

    @property
    def is_settled(self) -> bool:
        """Whether the acceptance rests on as many measurements as it ever will."""
        return self.acceptance.count >= 1 / _RATE
