"""How many drafted tokens go into a block."""

from __future__ import annotations

from collections.abc import Sequence

from edge_node.drafting.drafter import Guess
from edge_node.rounds.pace import Pace
from edge_node.settings import NodeSettings, Policy
from shared.limits import MAX_DRAFT

_LEAST_REACHED = 0.05  # chance from which on a token that is drafted already goes along


class BlockLength:
    """Follows from the node's settings, from what the hub takes and advises, and from what drafting on is worth."""

    def __init__(self, settings: NodeSettings, pace: Pace) -> None:
        self._settings = settings
        self._pace = pace
        self._taken = MAX_DRAFT  # tokens that the hub takes at most
        self._advised: int | None = None  # tokens that the hub would like

    def begin(self, taken: int) -> None:
        """A session is begun with a hub that takes blocks of up to so many tokens."""
        self._taken, self._advised = taken, None

    def advise(self, advised: int | None) -> None:
        """Take in what a verdict advises: a length, 0 where the hub asks to stream, None where it says nothing new."""
        self._advised = self._advised if advised is None else advised

    @property
    def advised(self) -> int | None:
        """What the hub would like, where the policy follows it."""
        return self._advised if self._settings.policy is Policy.AUTO else None

    @property
    def longest(self) -> int:
        """Tokens of the longest block that is of use, one at least."""
        longest = min(self._settings.draft_length, self._taken)
        return longest if self.advised is None else max(1, min(longest, self.advised))

    @property
    def usual(self) -> int:
        """Tokens of the blocks to come."""
        return self._pace.best_length(self.longest) if self._settings.policy is Policy.AUTO else self.longest

    def fitting(self, guesses: Sequence[Guess], chances: Sequence[float]) -> int:
        """How many of these drafted tokens go into a block; `chances` are theirs to be accepted if those before them are."""
        match self._settings.policy:
            case Policy.FIXED:
                return len(guesses)
            case Policy.THRESHOLD:
                unsure = (place for place, guess in enumerate(guesses) if guess.confidence < self._settings.threshold)
                return max(next(unsure, len(guesses)), min(1, len(guesses)))
            case Policy.AUTO:
                reached, count = 1.0, 0
                for chance in chances:
                    reached *= chance
                    if count and reached < _LEAST_REACHED:
                        break
                    count += 1
                return count

    def goes_on(self, chances: Sequence[float]) -> bool:
        """Whether to draft another token behind those that go into the block, whose chances these are."""
        if self._settings.policy is not Policy.AUTO or not chances:
            return True
        return self._pace.goes_on(chances, self.longest)
