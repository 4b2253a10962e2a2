"""What an answer has come to, step by step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from shared.transcript import common_length


class Source(Enum):
    """Where a committed id is from."""

    DRAFTED = "this device drafted it, and the target agreed"
    CORRECTED = "the target wrote it in place of another that was drafted"
    TARGET = "the target wrote it where nothing was drafted: streamed, or behind a block that was right"


def sources_of(written: Sequence[int], drafted: Sequence[int]) -> tuple[Source, ...]:
    """Of each id that a verdict commits, where it is from; `drafted` is the block that was sent for the same places.

    Behind a draft that was wrong, the block says nothing about what follows.
    """
    right = common_length(written, drafted)
    wrong = int(right < min(len(written), len(drafted)))
    return (
        *(Source.DRAFTED,) * right,
        *(Source.CORRECTED,) * wrong,
        *(Source.TARGET,) * (len(written) - right - wrong),
    )


@dataclass(frozen=True)
class Progress:
    """Ids that were committed by this step, where each is from, and all that this device has drafted behind them without a hub.

    `surprisal` is -ln p of each committed id by the target, in thousandths of a nat; None where no hub has said.

    Provisional ids are no part of the answer: a hub that comes back confirms them, which commits them, or writes others.
    """

    committed: tuple[int, ...] = ()
    provisional: tuple[int, ...] = ()
    sources: tuple[Source, ...] = ()
    surprisal: tuple[int | None, ...] = ()
