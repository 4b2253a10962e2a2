"""What a committed token costs by drafted blocks and by streaming, computed from what was measured.

A block of g tokens that are each right with chance a commits E = 1 + a + ... + a^g tokens. It takes g * draft + wait seconds, less
what was drafted already while the verdict before was awaited: with chance a^(g+1), that all of the block and the guess of the
bonus token were right, min(g * draft, wait), and where only an early verdict was right, min(g * draft, from the early verdict on).
A streamed token takes `stream` seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod, sqrt

from edge_node.rounds.skill import DraftSkill
from edge_node.rounds.timing import TRUSTED, RoundTimes

_ROUNDING = 1e-9


class Pace:
    """Reads what others measure, and changes nothing."""

    def __init__(self, skill: DraftSkill, times: RoundTimes, *, ahead: bool) -> None:
        """`ahead` says that the node drafts while it waits."""
        self._skill, self._times, self._ahead = skill, times, ahead

    @property
    def known(self) -> bool:
        """Whether enough was measured to compare the modes."""
        times = self._times
        return self._skill.draft_s.count > 0 and times.trip_s.count > 0 and times.stream_s.count >= TRUSTED

    @property
    def stream_s(self) -> float:
        """Seconds of a streamed token."""
        return self._times.stream_s.value

    @property
    def drafts_too_slowly(self) -> bool:
        """Whether drafting a token takes as long as streaming two, the most that it can bring."""
        return self.known and self._skill.draft_s.value >= 2 * self.stream_s

    def block(self, length: int, rate: float | None = None) -> tuple[float, float]:
        """Seconds that a round with a block of that length takes, and the tokens that it is expected to commit.

        `rate` is the chance that a token is accepted, by default as measured.
        """
        skill, wait_s = self._skill, self._times.wait_s
        rate = skill.acceptance.value if rate is None else rate
        expected = sum(rate**place for place in range(length + 1))
        drafting = length * skill.draft_s.value
        foreseen = rate ** (length + 1)
        corrected = max(0.0, skill.early_right.value - foreseen)
        saved = foreseen * min(drafting, wait_s) + corrected * min(drafting, self._times.early_s.value)
        return drafting + wait_s - (saved if self._ahead else 0.0), expected

    def best_length(self, longest: int) -> int:
        """The length, from 1 to `longest`, that commits most tokens per second."""
        return min(range(1, max(1, longest) + 1), key=self._seconds_per_token)

    def cautious_s(self, longest: int) -> float:
        """Seconds for a token with drafted blocks, at an acceptance lower by the error that few measurements may have."""
        rate = self._skill.acceptance.value
        rate -= sqrt(rate * (1 - rate) / self._skill.acceptance_weight)
        return self._computed_s(longest, max(0.0, rate))

    def may_gain(self, longest: int) -> bool:
        """Whether speculating is faster than streaming if the acceptance is as the few measurements so far have it."""
        if not self.known or self._skill.is_settled:
            return False
        return self._computed_s(longest, self._skill.acceptance.value) < self.stream_s

    def goes_on(self, chances: Sequence[float], longest: int) -> bool:
        """Whether drafting another token behind a block whose tokens have these chances pays.

        It does as long as the block is as likely to be accepted as one of the best length is before its last token, tokens
        being alike: so a drafter that knows when it is right gets longer blocks then, and shorter ones else.
        """
        return prod(chances) >= self._skill.acceptance.value ** (self.best_length(longest) - 1) - _ROUNDING

    def explained(self, longest: int) -> str:
        """The comparison of both modes with its numbers, for blocks of at most `longest` tokens."""
        length = self.best_length(longest)
        seconds, expected = self.block(length)
        draft_s, wait_s = self._skill.draft_s.value, self._times.wait_s
        return (
            f"speculate: ({length} x {1e3 * draft_s:.1f} ms drafting + {1e3 * wait_s:.1f} ms waiting"
            f" - {1e3 * (length * draft_s + wait_s - seconds):.1f} ms drafted ahead)"
            f" / {expected:.2f} tokens = {1e3 * seconds / expected:.1f} ms per token,"
            f" acceptance {self._skill.acceptance.value:.2f}; stream: {1e3 * self.stream_s:.1f} ms per token"
        )

    def _computed_s(self, longest: int, rate: float) -> float:
        """Seconds for a token in blocks of the length that is best at that acceptance."""
        return min(self._seconds_per_token(length, rate) for length in range(1, longest + 1))

    def _seconds_per_token(self, length: int, rate: float | None = None) -> float:
        seconds, expected = self.block(length, rate)
        return seconds / expected
