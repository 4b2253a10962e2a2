"""What an answer has come to, step by step."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """Ids that were committed by this step, and all that this device has drafted behind them without a hub.

    Provisional ids are no part of the answer: a hub that comes back confirms them, which commits them, or writes others.
    """

    committed: tuple[int, ...] = ()
    provisional: tuple[int, ...] = ()
