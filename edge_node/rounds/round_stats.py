"""What the rounds of one answer did."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from edge_node.rounds.cost import Cost
from edge_node.rounds.progress import Source
from shared.messages import Draft, Verdict

_MOST_STEPS = 256  # of an answer that are kept: its last ones


@dataclass
class Step:
    """A round: tokens that were drafted for it, and those that its verdict committed, by their source. Streamed tokens in a row are one step."""

    drafted: int
    accepted: int  # drafted ones that are the target's
    corrected: int  # 1 where the target wrote another than the drafted one
    target: int  # tokens where nothing was drafted
    early: int  # early verdicts before this one

    def add(self, other: Step) -> None:
        """Count another with this one."""
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)


@dataclass
class RoundStats:
    """Times in seconds; the lists have an entry for each round with drafted tokens."""

    tokens: int = 0
    streamed: int = 0  # tokens that the hub decoded by itself
    rounds: int = 0  # drafts that were sent
    drafted: int = 0
    ahead: int = 0  # of those: tokens that were there already when the verdict before came
    foreseen: int = 0  # blocks that were right, and so was the guess of the bonus token behind them
    early: int = 0  # early verdicts
    accepted: int = 0
    matched: int = 0  # drafted tokens that the target wrote itself, behind those that the hub looked at
    rejected: int = 0  # rounds in which the target wrote another token than the drafted one
    reopened: int = 0
    notices: list[str] = field(default_factory=list)  # what the user should know about how the answer came about
    elapsed_s: float = 0.0
    first_token_s: float = 0.0
    accepted_by_round: list[int] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    overheads_s: list[float] = field(default_factory=list)  # the round less the target's forward
    bytes_up: list[int] = field(default_factory=list)
    bytes_down: list[int] = field(default_factory=list)
    cost: Cost = field(default_factory=Cost)
    _early_before: int = 0  # early verdicts before the last step

    @property
    def mode(self) -> str:
        """Which mode most of the tokens are from."""
        return "stream" if 2 * self.streamed >= self.tokens else "speculate"

    @property
    def ms_per_token(self) -> float:
        """Milliseconds per committed token, from the request on."""
        return 1e3 * self.elapsed_s / self.tokens if self.tokens else 0.0

    @property
    def rtt_ms(self) -> float:
        """Median of a round's time outside the target's forward, in milliseconds."""
        ordered = sorted(self.overheads_s)
        return 1e3 * ordered[len(ordered) // 2] if ordered else 0.0

    def step(self, drafted: int, sources: Sequence[Source]) -> None:
        """Note where the tokens are from that a verdict has committed, `drafted` having been sent for them."""
        accepted, corrected, target = (
            sources.count(each) for each in (Source.DRAFTED, Source.CORRECTED, Source.TARGET)
        )
        step = Step(drafted, accepted, corrected, target, self.early - self._early_before)
        self._early_before = self.early
        if self.steps and not drafted and not self.steps[-1].drafted:
            self.steps[-1].add(step)
        else:
            self.steps.append(step)
            del self.steps[:-_MOST_STEPS]

    def note(self, draft: Draft, verdict: Verdict, elapsed_s: float, bytes_up: int, bytes_down: int) -> None:
        """Count a round of drafted tokens and its verdict."""
        self.accepted += verdict.accepted
        # Under load a hub looks at fewer tokens than were drafted: then the target's own may be the next drafted one.
        expected = draft.tokens[verdict.accepted : verdict.accepted + 1]
        if expected and verdict.ids:
            self.matched += verdict.ids[:1] == expected
            self.rejected += verdict.ids[:1] != expected
        self.accepted_by_round.append(verdict.accepted)
        self.overheads_s.append(elapsed_s - verdict.forward_us / 1e6)
        self.bytes_up.append(bytes_up)
        self.bytes_down.append(bytes_down)
