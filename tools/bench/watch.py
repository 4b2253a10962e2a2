"""A transport that notes the rounds which go over it: when a draft went out, and when its early verdict and its verdict came."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, TypeVar

from shared.messages import AnyMessage, Close, Draft, Early, Open, Verdict
from tools.rig.transport import Transport

Result = TypeVar("Result")


@dataclass(frozen=True)
class Round:
    """A draft with tokens and its answers; times in seconds after the draft was sent."""

    draft: Draft
    early: Early | None
    early_s: float  # 0 where there was none
    verdict: Verdict
    verdict_s: float

    @property
    def is_right(self) -> bool:
        """Whether the early verdict is what the verdict is."""
        return self._guessed == self._final

    @property
    def right_ids(self) -> int:
        """The ids of the early verdict that are the verdict's, up to the first that is not."""
        pairs = zip(self._guessed, self._final, strict=False)
        return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))

    @property
    def _final(self) -> tuple[int, ...]:
        return self.draft.tokens[: self.verdict.accepted] + self.verdict.ids

    @property
    def _guessed(self) -> tuple[int, ...]:
        return self.draft.tokens[: self.early.accepted] + self.early.ids if self.early else ()


class Watch:
    """Passes everything on, and keeps the rounds whose verdict came."""

    def __init__(self, transport: Transport) -> None:
        self.rounds: list[Round] = []
        self._sent: dict[tuple[bytes, int], tuple[Draft, float]] = {}
        self._early: dict[tuple[bytes, int], tuple[Early, float]] = {}
        self._transport = transport

    def listen(self, receive: Callable[[bytes, AnyMessage], None]) -> None:
        """Connect; `receive` is told what comes."""

        def received(session: bytes, message: AnyMessage) -> None:
            self._note(session, message, time.perf_counter())
            receive(session, message)

        self._transport.listen(received)

    def send(self, session: bytes, message: Open | Draft | Close) -> None:
        """Send."""
        if isinstance(message, Draft) and message.tokens:
            self._sent[session, message.round] = message, time.perf_counter()
        self._transport.send(session, message)

    def stats(self) -> dict[str, Any]:
        """The hub's counters."""
        return self._transport.stats()

    def serve_during(self, work: Callable[[], Result]) -> Result:
        """See to it that the hub serves while `work` runs."""
        return self._transport.serve_during(work)

    def close(self) -> None:
        """Disconnect."""
        self._transport.close()

    def _note(self, session: bytes, message: AnyMessage, now: float) -> None:
        if isinstance(message, Early):
            self._early[session, message.round] = message, now
        elif isinstance(message, Verdict) and (sent := self._sent.pop((session, message.round), None)):
            draft, sent_at = sent
            early, early_at = self._early.pop((session, message.round), (None, sent_at))
            self.rounds.append(Round(draft, early, early_at - sent_at, message, now - sent_at))
