"""A session being asked for: one hub after the other, until one opens it."""

from __future__ import annotations

import random
import secrets
import time
from collections.abc import Callable
from typing import Protocol

from edge_node.link.channel import Channel
from edge_node.link.directory import HubDirectory
from shared.errors import HubRefused, HubSilent, IncompatiblePair, SledError
from shared.messages import Fault, FaultCode, Opened

_PATIENCE_S = 0.7  # seconds after which a hub is asked again, or another one
_UNUSUAL_S = 3.0  # seconds without an answer that want an explanation
_LOOK_AGAIN_S = 0.1  # seconds between two looks for a hub where none can be chosen


class Asking(Protocol):
    """The way to the hubs, as an opening needs it."""

    @property
    def trouble(self) -> str:
        """What is wrong with the way to the broker."""

    def ask_for(self, hub: str, session: bytes) -> None:
        """Ask a hub for a session. What it answers comes by `reply`."""

    def reply(self, session: bytes, timeout_s: float) -> Opened | Fault | None:
        """What was answered about that session, or None when nothing comes in time."""

    def give_up(self, hub: str, session: bytes) -> None:
        """Tell a hub that the session is not wanted any more."""


class Opening:
    """To be driven by `step` until that returns a channel. A hub that does not answer is left for another, if there is one."""

    def __init__(
        self,
        link: Asking,
        directory: HubDirectory,
        prefer: str | None = None,
        target: str | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """The hub `prefer` is asked first where it lives; with `target` only hubs that run it are."""
        self.hub: str | None = None  # that is asked at present
        self._link, self._directory, self._prefer, self._target = link, directory, prefer, target
        self._clock = clock
        self._session = b""
        self._began_at = clock()
        self._asked_at = 0.0
        self._silent: set[str] = set()  # hubs that have not answered
        self._busy: dict[str, tuple[float, str]] = {}  # hubs that have no room, until when, and what they said

    def step(self, timeout_s: float) -> Channel | None:
        """Go on for at most that long; a channel when a hub has opened the session.

        Raises IncompatiblePair or HubRefused when a hub refuses for good, and LinkError.
        """
        deadline = self._clock() + timeout_s
        while True:
            now = self._clock()
            if self.hub is None or now >= self._asked_at + _PATIENCE_S:
                self._ask(now)
            until = min(deadline, self._asked_at + _PATIENCE_S if self.hub is not None else now + _LOOK_AGAIN_S)
            answer = self._link.reply(self._session, max(0.0, until - self._clock()))
            if isinstance(answer, Opened):
                assert self.hub is not None
                return Channel(self.hub, self._session, answer)
            if isinstance(answer, Fault):
                self._note_refusal(answer)
            if self._clock() >= deadline:
                return None

    def abandon(self) -> None:
        """The session is not wanted any more."""
        if self.hub is not None:
            self._link.give_up(self.hub, self._session)
            self.hub, self._session = None, b""  # a hub that was asked twice may answer once more

    def failure(self) -> SledError:
        """Why no hub has opened the session so far."""
        trouble = self._link.trouble
        if trouble:
            return HubSilent(trouble)
        if self._busy:
            hub, (_, detail) = next(iter(self._busy.items()))
            return HubRefused(f"hub {hub!r}: {detail}")
        if self.hub is None:
            return self._directory.why_none(self._target)
        if self._clock() - self._began_at < _UNUSUAL_S:
            return HubSilent(f"hub {self.hub!r} has not answered yet")
        if self._directory.is_silent(self.hub):
            return HubSilent(f"hub {self.hub!r} does not answer and says nothing at all: it hangs or is gone")
        return HubSilent(
            f"hub {self.hub!r} lives but does not answer; either it is overloaded, or the broker's ACL does not let "
            "this node read what it answers"
        )

    def _ask(self, now: float) -> None:
        """Ask a hub: the same one again where there is no other."""
        if self.hub is not None:
            self._silent.add(self.hub)
        self._busy = {hub: busy for hub, busy in self._busy.items() if busy[0] > now}
        hub = self._directory.choose(self._prefer, {*self._silent, *self._busy}, self._target)
        if hub in self._busy:
            hub = None  # there is no other
        if hub != self.hub:
            self.abandon()
        self._session = self._session or secrets.token_bytes(16)
        if hub in self._silent:
            self._silent = {hub}  # all have been asked: go round again
        self.hub, self._asked_at = hub, now
        if hub is not None:
            self._link.ask_for(hub, self._session)

    def _note_refusal(self, answer: Fault) -> None:
        assert self.hub is not None
        hub = self.hub
        self.abandon()
        if answer.code is FaultCode.MOVED:
            self._silent.add(hub)
            return
        if answer.code is FaultCode.WRONG_TOKENIZER:
            raise IncompatiblePair(f"hub {hub!r}: {answer.detail}")
        if answer.code is not FaultCode.BUSY:
            raise HubRefused(f"hub {hub!r}: {answer.detail}")
        self._busy[hub] = (self._clock() + pause_s(answer), answer.detail)


def pause_s(busy: Fault) -> float:
    """Seconds after which to ask a hub again that had no room: a part of it is chance, or all would come back at once."""
    return busy.retry_after_ms / 1e3 * random.uniform(0.5, 1.5)
