"""When tokens are drafted: for the block that is sent next, and while a message of the hub is awaited."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edge_node.rounds.answer import AnswerInProgress
from edge_node.rounds.block_length import BlockLength
from edge_node.rounds.gate import Gate
from edge_node.rounds.lookahead import Lookahead
from edge_node.rounds.session import NodeSession
from edge_node.settings import NodeSettings
from shared.messages import Early
from shared.sampling_parameters import Sampling


@dataclass(frozen=True)
class Block:
    """Drafted tokens to be verified; `ahead` of them were drafted while the verdict before was awaited."""

    tokens: tuple[int, ...]
    ahead: int


class DraftingSchedule:
    """Decides when the drafter works, as far as the settings let it."""

    def __init__(self, settings: NodeSettings, length: BlockLength, lookahead: Lookahead) -> None:
        self._settings = settings
        self._length = length
        self._lookahead = lookahead

    @property
    def ready(self) -> bool:
        """Whether the next token can be had at once."""
        return self._lookahead.ready

    @property
    def busy_s(self) -> float:
        """Seconds that drafting has taken so far."""
        return self._lookahead.busy_s

    def begin(self, ids: Sequence[int], sampling: Sampling, drafted: Sequence[int] = ()) -> None:
        """Draft behind `ids`, the whole text, from here on; `drafted` is what was drafted behind it before."""
        self._lookahead.begin(ids, sampling, drafted)

    def block(self, room: int) -> Block:
        """The block that is sent next, `room` tokens at most: drafts on as long as that is worth its time."""
        lookahead, longest = self._lookahead, min(self._length.longest, room)
        ready = len(lookahead.trunk)
        while True:
            guesses, chances = lookahead.trunk[:longest], lookahead.chances[:longest]
            count = self._length.fitting(guesses, chances)
            whole = count == len(lookahead.trunk) < longest
            if not (whole and self._length.goes_on(chances) and lookahead.grow()):
                return Block(lookahead.take_block(count), ahead=min(ready, count))

    def draft_alone(self, room: int) -> tuple[int, ...]:
        """Do a piece of drafting; all that is drafted behind the committed ids, `room` tokens at most."""
        if len(self._lookahead.trunk) < room:
            self._lookahead.grow()
        return tuple(guess.token for guess in self._lookahead.trunk[:room])

    @property
    def is_stuck(self) -> bool:
        """Whether the drafter has no more to say."""
        return self._lookahead.ended

    def written_block(self, room: int) -> Block:
        """A block of what was drafted without a hub, as long as one may be."""
        count = min(len(self._lookahead.trunk), self._length.longest, room)
        return Block(self._lookahead.take_block(count), ahead=count)

    def work(self, answer: AnswerInProgress, session: NodeSession, gate: Gate) -> bool:
        """Do a piece of drafting that costs no time while a message is awaited; False if there is none to be done."""
        lookahead = self._lookahead
        if answer.timing.awaits_first and not lookahead.works_briefly:
            return False  # a slow drafter would delay the first token
        outstanding = session.outstanding
        awaits_block = outstanding is not None and bool(outstanding.tokens)
        if awaits_block:
            return self._settings.ahead and lookahead.work(self._length.usual, answer.timing.left_s)
        if gate.streams:
            return gate.wants_probe and not lookahead.trunk and self._probe(gate)
        streamed = max(0, answer.credit.until - len(session))
        wanted = streamed + self._length.usual if self._settings.ahead else 1
        return len(lookahead.trunk) < wanted and lookahead.grow()

    def take_early(self, answer: AnswerInProgress, early: Early, at: float, session: NodeSession) -> bool:
        """Draft on from what an early verdict that came at that time says, which commits nothing.

        Returns whether it is about the round under way.
        """
        outstanding = session.outstanding
        if outstanding is None or not self._settings.early:
            return False
        if early.round != outstanding.round or early.base != len(session) or len(early.ids) != 1:
            return False
        answer.timing.early(at)
        self._lookahead.expect(early.accepted, early.ids[0])
        return True

    def settle(self, ids: Sequence[int], count: int) -> bool:
        """Take in that the last `count` of `ids`, the whole text, were committed; whether the drafter had foreseen all of them."""
        return self._lookahead.settle(ids, count)

    def _probe(self, gate: Gate) -> bool:
        """A piece of drafting beside a stream, only to see what it takes and how good it is."""
        grown = self._lookahead.grow()
        if self._lookahead.trunk or not grown:
            gate.probed()
        return grown
