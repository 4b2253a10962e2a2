"""What drafting, waiting and streaming take on this device and link, as measured, and what follows from it.

A block of g tokens that are each right with chance a commits E = 1 + a + ... + a^g tokens. It takes g * draft + wait seconds, less
what was drafted already while the verdict before was awaited: with chance a^(g+1), that all of the block and the guess of the
bonus token were right, min(g * draft, wait), and where only an early verdict was right, min(g * draft, from the early verdict on).
A streamed token takes `stream` seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import prod, sqrt

_FIRST_ACCEPTANCE, _FIRST_RUNNER_UP = 0.7, 0.4
_BELIEVED = 5  # measurements that those count for
_SLOW = 0.02  # of a new measurement in a mean of chances, which need many
_FAST = 0.1  # in a mean of times, which change
_FIRST_DRAFT_S, _FIRST_WAIT_S = 0.005, 0.02  # while nobody knows
_TRUSTED = 4  # measurements that a choice needs
_EARLY_CHANCE = 0.8  # that an early verdict is the final one, believed
_EARLY_BELIEVED = 10  # times, until some were seen
_ROUNDING = 1e-9
_ROUNDS = 8  # after which what they took counts for as much as what was computed: few are a matter of luck


@dataclass
class Mean:
    """A mean in which newer measurements count more, each at least `rate`; `value` counts as `believed` of them at first."""

    value: float
    rate: float = _FAST
    believed: int = 0
    count: int = 0

    def add(self, value: float) -> None:
        """Take in a measurement."""
        self.count += 1
        self.value += max(self.rate, 1 / (self.believed + self.count)) * (value - self.value)


@dataclass
class Pace:
    """Means in seconds, and chances."""

    ahead: bool = True  # whether the node drafts while it waits
    draft_s: Mean = field(default_factory=lambda: Mean(_FIRST_DRAFT_S))  # for one drafted token
    block_s: Mean = field(default_factory=lambda: Mean(_FIRST_WAIT_S))  # from a block to its verdict
    trip_s: Mean = field(default_factory=lambda: Mean(_FIRST_WAIT_S))  # of that, or of another round, outside the hub
    hub_s: Mean = field(default_factory=lambda: Mean(0.0))  # in the hub: queue and forward
    stream_s: Mean = field(default_factory=lambda: Mean(0.0))  # for a streamed token, in the hub
    acceptance: Mean = field(default_factory=lambda: Mean(_FIRST_ACCEPTANCE, _SLOW, _BELIEVED))
    runner_up: Mean = field(
        default_factory=lambda: Mean(_FIRST_RUNNER_UP, _SLOW, _BELIEVED)
    )  # right, where the guess was not
    early_s: Mean = field(default_factory=lambda: Mean(0.0))  # from an early verdict to the verdict, 0 where none came
    early_right: Mean = field(default_factory=lambda: Mean(_EARLY_CHANCE, _SLOW, _EARLY_BELIEVED))
    round_s: Mean = field(default_factory=lambda: Mean(0.0))  # from a verdict to the next, while speculating
    round_tokens: Mean = field(default_factory=lambda: Mean(0.0))  # committed in it

    @property
    def wait_s(self) -> float:
        """Seconds from a block to its verdict."""
        return self.block_s.value if self.block_s.count >= _TRUSTED else self.trip_s.value + self.hub_s.value

    @property
    def known(self) -> bool:
        """Whether enough was measured to compare the modes."""
        return self.draft_s.count > 0 and self.trip_s.count > 0 and self.stream_s.count >= _TRUSTED

    @property
    def hopeless(self) -> bool:
        """Whether drafting a token takes as long as streaming two, the most that it can bring."""
        return self.known and self.draft_s.value >= 2 * self.stream_s.value

    def block(self, length: int, rate: float | None = None) -> tuple[float, float]:
        """Seconds that a round with a block of that length takes, and the tokens that it is expected to commit.

        `rate` is the chance that a token is accepted, by default as measured.
        """
        rate = self.acceptance.value if rate is None else rate
        expected = sum(rate**place for place in range(length + 1))
        drafting = length * self.draft_s.value
        foreseen = rate ** (length + 1)
        corrected = max(0.0, self.early_right.value - foreseen)
        saved = foreseen * min(drafting, self.wait_s) + corrected * min(drafting, self.early_s.value)
        return drafting + self.wait_s - (saved if self.ahead else 0.0), expected

    def best_length(self, longest: int) -> int:
        """The length, from 1 to `longest`, that commits most tokens per second."""
        return min(range(1, max(1, longest) + 1), key=self._seconds_per_token)

    def speculating_s(self, longest: int) -> float:
        """Seconds for a token with drafted blocks: as computed, and more and more what the last ones took.

        The former is cautious: with an acceptance lower by the error that it may have, after so few measurements.
        """
        rate = self.acceptance.value
        rate -= sqrt(rate * (1 - rate) / min(self.acceptance.count + _BELIEVED, 1 / _SLOW))
        computed = self._computed_s(longest, max(0.0, rate))
        measured, rounds = self.round_s.value / max(self.round_tokens.value, 1e-9), self.round_s.count
        return (_ROUNDS * computed + rounds * measured) / (_ROUNDS + rounds)

    def may_gain(self, longest: int) -> bool:
        """Whether speculating is faster than streaming if the acceptance is as the few measurements so far have it."""
        few = self.acceptance.count < 1 / _SLOW
        return self.known and few and self._computed_s(longest, self.acceptance.value) < self.stream_s.value

    def forget_rounds(self) -> None:
        """What blocks took some time ago no longer counts."""
        self.round_s, self.round_tokens = Mean(0.0), Mean(0.0)

    def goes_on(self, chances: Sequence[float], longest: int) -> bool:
        """Whether drafting another token behind a block whose tokens have these chances pays.

        It does as long as the block is as likely to be accepted as one of the best length is before its last token, tokens
        being alike: so a drafter that knows when it is right gets longer blocks then, and shorter ones else.
        """
        return prod(chances) >= self.acceptance.value ** (self.best_length(longest) - 1) - _ROUNDING

    def prefers_streaming(self, streams: bool, longest: int) -> bool:
        """Whether to stream from here on, as now where nothing is known; `longest` is the longest block that is of use."""
        if not self.known:
            return streams
        return self.speculating_s(longest) > self.stream_s.value

    def explained(self, longest: int) -> str:
        """The comparison of both modes with its numbers, for blocks of at most `longest` tokens."""
        length = self.best_length(longest)
        seconds, expected = self.block(length)
        return (
            f"speculate: ({length} x {1e3 * self.draft_s.value:.1f} ms drafting + {1e3 * self.wait_s:.1f} ms waiting"
            f" - {1e3 * (length * self.draft_s.value + self.wait_s - seconds):.1f} ms drafted ahead)"
            f" / {expected:.2f} tokens = {1e3 * seconds / expected:.1f} ms per token,"
            f" acceptance {self.acceptance.value:.2f}; stream: {1e3 * self.stream_s.value:.1f} ms per token"
        )

    def _computed_s(self, longest: int, rate: float) -> float:
        """Seconds for a token in blocks of the length that is best at that acceptance."""
        return min(self._seconds_per_token(length, rate) for length in range(1, longest + 1))

    def _seconds_per_token(self, length: int, rate: float | None = None) -> float:
        seconds, expected = self.block(length, rate)
        return seconds / expected
