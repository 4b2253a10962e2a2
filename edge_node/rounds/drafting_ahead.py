"""What is drafted while a message of the hub is awaited."""

from __future__ import annotations

from edge_node.rounds.answer import AnswerInProgress
from edge_node.rounds.block_length import BlockLength
from edge_node.rounds.gate import Gate
from edge_node.rounds.lookahead import Lookahead
from edge_node.rounds.session import NodeSession
from edge_node.settings import NodeSettings
from shared.messages import Early


class DraftingAhead:
    """Drafts where that costs no time, as far as the settings let it."""

    def __init__(self, settings: NodeSettings, length: BlockLength) -> None:
        self._settings = settings
        self._length = length

    def work(self, answer: AnswerInProgress, lookahead: Lookahead, session: NodeSession, gate: Gate) -> bool:
        """A piece of drafting, if there is any to be done. A slow drafter leaves it be while the first token is awaited."""
        if answer.timing.awaits_first and not lookahead.works_briefly:
            return False
        outstanding = session.outstanding
        awaits_block = outstanding is not None and bool(outstanding.tokens)
        if awaits_block and not self._settings.ahead:
            return False
        if gate.streams and not awaits_block:
            return gate.spies and not lookahead.trunk and _spy(lookahead, gate)
        if awaits_block:
            return lookahead.work(self._length.usual, answer.timing.left_s)
        streamed = max(0, answer.credit.until - len(session))
        wanted = streamed + self._length.usual if self._settings.ahead else 1
        return len(lookahead.trunk) < wanted and lookahead.grow()

    def take_early(
        self, answer: AnswerInProgress, early: Early, at: float, lookahead: Lookahead, session: NodeSession
    ) -> bool:
        """Draft on from what an early verdict that came at that time says, which commits nothing.

        Returns whether it is about the round under way.
        """
        outstanding = session.outstanding
        if outstanding is None or not self._settings.early:
            return False
        if early.round != outstanding.round or early.base != len(session) or len(early.ids) != 1:
            return False
        answer.timing.early(at)
        lookahead.expect(early.accepted, early.ids[0])
        return True


def _spy(lookahead: Lookahead, gate: Gate) -> bool:
    """A piece of drafting beside a stream, only to see what it takes and how it fares."""
    grown = lookahead.grow()
    if lookahead.trunk or not grown:
        gate.spied()
    return grown
