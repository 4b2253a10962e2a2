"""What may come at the places of a forward's rows, where answers keep to a grammar."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from hub.engine.scheduler import PlannedRow
from shared.errors import GrammarError
from shared.guide import Ahead, MaskMaker, Masks, nothing


class RowMasks:
    """Makes them for all rows at once."""

    def __init__(self) -> None:
        self._maker: MaskMaker | None = None  # from the first answer on that keeps to a grammar

    def of(self, planned: Sequence[PlannedRow]) -> list[Masks | None]:
        """The masks of each row [wanted, words]; None where any id may come.

        Nothing may where the grammar can't be followed: `misguided` of the session says why, then.
        """
        masks: list[Masks | None] = [None] * len(planned)
        asked: list[tuple[int, Ahead]] = []
        for number, plan in enumerate(planned):
            if plan.wanted and plan.session.guide is not None:
                masks[number] = nothing(plan.wanted, plan.session.guide.grammar.words)
                if (ahead := plan.session.ahead(plan.drafted)) is not None:
                    asked.append((number, ahead))
        if asked and self._maker is None:
            self._maker = MaskMaker(torch.get_num_threads())
        made = self._maker.masks([ahead for _, ahead in asked]) if self._maker is not None else []
        for (number, _), each in zip(asked, made, strict=True):
            if isinstance(each, GrammarError):
                planned[number].session.misguide(each)
            else:
                masks[number] = each
        return masks
