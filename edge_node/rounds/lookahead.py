"""What the drafter believes comes behind the committed ids, drafted whenever there is time for it.

The *trunk* goes on from the committed ids; its first tokens are the block that is sent next, or was sent and awaits its verdict.
While one is awaited the trunk grows past it: by the node's own guess of the bonus token, and by the block after that. Then come
*branches*, which go on from where the block might be rejected, behind what the drafter would say there instead. When
tokens are committed, what proves right is kept.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import prod

from edge_node.drafting.calibration import Calibration
from edge_node.drafting.drafter import Drafter, Guess
from edge_node.drafting.drift import Drift
from edge_node.drafting.guided_drafter import SOURCE as CERTAIN
from edge_node.rounds.skill import DraftSkill
from shared.sampling_parameters import Sampling

_LEAST_CHANCE = 0.05  # a token that is less likely to be of use is not drafted while waiting
_FEW_IDS = 16  # ids that a drafter takes in about as fast as one
_BEFORE = "before"  # the source of tokens that were drafted in an earlier answer
_BRIEF_S = 0.05  # seconds for which a message that has come may wait


class _Continuation:
    """What the drafter says behind one text: the guesses so far, and the draft that more of them come from."""

    def __init__(self, draft: Iterator[Guess | None]) -> None:
        self.guesses: list[Guess] = []
        self.ended = False  # whether it is known that no more will come
        self._draft = draft

    def grow(self) -> bool:
        """Do a piece of work; whether it has brought a guess."""
        for drafted in self._draft:
            if drafted is not None:
                self.guesses.append(drafted)
            return drafted is not None
        self.ended = True
        return False


@dataclass
class _Branch:
    """What may come behind trunk[:place] and `token`."""

    place: int
    token: int
    chance: float  # of the verdict leading here
    behind: _Continuation


class Lookahead:
    """Drafts ahead for one session; what it holds is never sent on its own, the round loop takes it."""

    def __init__(
        self,
        drafter: Drafter,
        calibration: Calibration,
        skill: DraftSkill,
        clock: Callable[[], float] = time.monotonic,
        drift: Drift | None = None,
    ) -> None:
        """`calibration`, `skill` and `drift` learn from what is drafted and committed here."""
        self._drafter, self._calibration, self._skill, self._drift = drafter, calibration, skill, drift
        self._clock = clock
        self._ids: tuple[int, ...] = ()
        self._sampling = Sampling()
        self._trunk = _Continuation(iter(()))
        self._taken_in = 0  # ids of the text that the drafter has drafted behind
        self._warm = False  # whether it has drafted before: what is run first takes longer
        self._piece_s = 0.0  # seconds of the last piece of work on the trunk
        self.busy_s = 0.0  # seconds of all pieces of work
        self._sent = 0  # tokens of the trunk that await a verdict
        self._branches: list[_Branch] | None = None  # likeliest first; None: not made yet
        self._expected: tuple[int, int] | None = None  # what an early verdict says: accepted, and the token behind

    def begin(self, ids: Sequence[int], sampling: Sampling, drafted: Sequence[int] = ()) -> None:
        """Go on behind `ids`, the whole text; `drafted` is what was drafted behind it before."""
        self._sampling = sampling
        self._taken_in = 0
        self._ids = tuple(ids)
        self._trunk = self._begun((*self._ids, *drafted))
        self._trunk.guesses += (Guess(token, 1.0, _BEFORE) for token in drafted)

    @property
    def trunk(self) -> Sequence[Guess]:
        """What was drafted behind the committed ids."""
        return self._trunk.guesses

    @property
    def ready(self) -> bool:
        """Whether the next token can be had at once: the drafter has taken in all but a few ids of the text, or has no idea."""
        return self._trunk.ended or len(self._ids) - self._taken_in <= _FEW_IDS

    @property
    def ended(self) -> bool:
        """Whether it is known that no more will come behind the trunk."""
        return self._trunk.ended

    @property
    def works_briefly(self) -> bool:
        """Whether a piece of work takes so little time that a message may come meanwhile."""
        return self._piece_s <= _BRIEF_S

    @property
    def chances(self) -> list[float]:
        """Of each token of the trunk to be accepted, those before it being right."""
        return [self._calibration.chance(guess) for guess in self.trunk]

    def grow(self) -> bool:
        """Do a piece of work on the trunk; False when there is no more to be drafted."""
        if self._trunk.ended:
            return False
        grown, self._piece_s = self._timed(self._trunk)
        if grown and self.trunk[-1].source != CERTAIN:  # what a grammar forces takes no time and tells nothing
            if self._warm:
                self._skill.draft_s.add(self._piece_s)
            self._warm = True
            self._taken_in = len(self._ids)
        return True

    def take_block(self, count: int) -> tuple[int, ...]:
        """Take the first `count` tokens of the trunk as a block whose verdict is to be awaited."""
        self._sent = count
        self._branches = self._expected = None
        return tuple(guess.token for guess in self.trunk[:count])

    def expect(self, accepted: int, token: int) -> None:
        """Believe an early verdict for the block that was sent."""
        if accepted > min(self._sent, len(self.trunk)):
            return
        self._expected = (accepted, token)
        if self._doubts_trunk:
            others = [b for b in self._branches or () if (b.place, b.token) != self._expected]
            known = [b for b in self._branches or () if b not in others]
            likely = known or [self._branch(accepted, token, 0.0)]
            likely[0].chance = self._skill.early_right.value
            self._branches = likely + others

    def work(self, length: int, left_s: float) -> bool:
        """Draft something that may be of use when the verdict comes, in about `left_s` seconds; False when nothing is worth it.

        `length` is that of the blocks to come.
        """
        if self._branches and self._doubts_trunk and self._work_on(self._branches[0], length, left_s):
            return True
        if len(self.trunk) < self._sent + 1 + length and self._pays(self._trunk_chance, left_s) and self.grow():
            return True
        if self._branches is None:
            self._branches = self._likely_branches()
        return any(self._work_on(branch, length, left_s) for branch in self._branches)

    def settle(self, ids: Sequence[int], count: int) -> bool:
        """Take in that the last `count` of `ids`, the whole text, were committed: learn from them, keep what proves right.

        Returns whether the trunk had foreseen all of it.
        """
        written = tuple(ids[len(ids) - count :])
        if self._expected is not None and written:
            self._skill.early_right.add(self._expected == (count - 1, written[-1]))
        same = self._judge(written)
        self._ids = tuple(ids)
        if same == count:
            del self._trunk.guesses[:count]
        else:
            self._trunk = self._branch_taken(same, written) or self._begun(self._ids)
        self._sent, self._branches, self._expected = 0, None, None
        return same == count

    @property
    def _doubts_trunk(self) -> bool:
        """Whether there is an early verdict that leads elsewhere."""
        if self._expected is None:
            return False
        accepted, token = self._expected
        return accepted == len(self.trunk) or self.trunk[accepted].token != token

    @property
    def _trunk_chance(self) -> float:
        """That the block that was sent and all guesses behind it are right."""
        confirmed = 0
        chance = 1.0
        if self._expected is not None:
            confirmed = 0 if self._doubts_trunk else self._sent + 1
            chance = 1 - self._skill.early_right.value if self._doubts_trunk else self._skill.early_right.value
        return chance * prod(self.chances[confirmed:])

    def _pays(self, chance: float, left_s: float) -> bool:
        """Whether to begin with a token that is of use with that chance.

        If it is not, and is not done when the verdict comes, the next block is late by the rest.
        """
        return chance >= _LEAST_CHANCE and left_s > (1 - chance) * self._skill.draft_s.value

    def _judge(self, written: Sequence[int]) -> int:
        """Learn from what the target wrote; how many of the trunk's first tokens it is."""
        for place, token in enumerate(written):
            if place == len(self.trunk):
                return place
            guess = self.trunk[place]
            self._calibration.learn(guess, token)
            if self._drift is not None:
                self._drift.learn(guess, token, greedy=self._sampling.temperature == 0)
            if guess.source != CERTAIN:
                self._skill.acceptance.add(guess.token == token)
            if guess.token != token:
                if guess.runner_up is not None:
                    self._skill.runner_up.add(guess.runner_up == token)
                return place
        return len(written)

    def _likely_branches(self) -> list[_Branch]:
        """One for each token of the block, and for the bonus token, that may be rejected in favour of the drafter's second choice."""
        found: list[tuple[float, int, int]] = []
        reached = 1.0
        for place, (guess, chance) in enumerate(zip(self.trunk[: self._sent + 1], self.chances, strict=False)):
            likelihood = reached * (1 - chance) * self._skill.runner_up.value
            if guess.runner_up is not None and likelihood >= _LEAST_CHANCE:
                found.append((likelihood, place, guess.runner_up))
            reached *= chance
        return [self._branch(place, token, chance) for chance, place, token in sorted(found, reverse=True)]

    def _branch(self, place: int, token: int, chance: float) -> _Branch:
        ids = (*self._ids, *(guess.token for guess in self.trunk[:place]), token)
        return _Branch(place, token, chance, self._begun(ids))

    def _work_on(self, branch: _Branch, length: int, left_s: float) -> bool:
        guesses = branch.behind.guesses
        chance = branch.chance * prod(map(self._calibration.chance, guesses))
        if branch.behind.ended or len(guesses) >= length or not self._pays(chance, left_s):
            return False
        self._timed(branch.behind)
        return True

    def _timed(self, continuation: _Continuation) -> tuple[bool, float]:
        """Let it grow: whether it has, and the seconds that it took."""
        started = self._clock()
        grown = continuation.grow()
        took_s = self._clock() - started
        self.busy_s += took_s
        return grown, took_s

    def _branch_taken(self, place: int, written: Sequence[int]) -> _Continuation | None:
        """What was drafted behind the tokens that the target has written, where it left the trunk at `place`."""
        for branch in self._branches or ():
            if (branch.place, branch.token) == (place, written[place]) and place + 1 == len(written):
                return branch.behind
        return None

    def _begun(self, ids: tuple[int, ...]) -> _Continuation:
        return _Continuation(self._drafter.draft(ids, self._sampling))
