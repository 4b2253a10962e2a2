"""A device that goes on without a hub: what its draft writes is shown, and waits for a hub to confirm it."""

from __future__ import annotations

from collections.abc import Sequence

from edge_node.rounds.answer import AnswerInProgress
from edge_node.rounds.drafting_schedule import DraftingSchedule
from edge_node.settings import HubLoss, NodeSettings


class DraftingAlone:
    """Nothing of it is committed."""

    def __init__(self, settings: NodeSettings, drafting: DraftingSchedule | None) -> None:
        self._wanted = settings.on_hub_loss is HubLoss.DRAFT
        self._drafting = drafting

    def goes_on(self, answer: AnswerInProgress) -> bool:
        """Whether the answer goes on without a hub for now."""
        return self._wanted and self._drafting is not None and answer.patience.is_lost

    def write(self, answer: AnswerInProgress, held: int, end_ids: Sequence[int]) -> bool:
        """Do a piece of drafting behind the `held` ids of the session; whether there is more to be read, or will be none."""
        assert self._drafting is not None
        before, room = answer.provisional, answer.credit.limit - held
        answer.provisional = tokens = self._drafting.draft_alone(room)
        answer.ended = self._drafting.is_stuck or len(tokens) >= room or (len(tokens) > 0 and tokens[-1] in end_ids)
        return answer.ended or tokens != before
