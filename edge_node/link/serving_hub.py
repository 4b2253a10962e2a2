"""The hub that verifies for a node: a session is opened with it, and opened anew when the hub has lost it or falls silent."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from typing import Any

from edge_node.link.channel import Channel, HubMessage, News
from edge_node.link.directory import SeenHub
from edge_node.link.hub_link import HubLink
from edge_node.link.opening import Opening, pause_s
from shared.errors import HubRefused
from shared.messages import Draft, Fault, FaultCode

_STEP_S = 0.1  # seconds between two looks at whether the wait is over
_TOLD_S = 0.7  # seconds of waiting after which the person is told what for
_ANSWER_S = 8.0  # seconds for which a hub that was asked may answer beyond that

log = logging.getLogger(__name__)


class ServingHub:
    """One session at a time, or one that is being asked for. What is sent meanwhile is lost: the session's prompt will have it all."""

    def __init__(
        self,
        link: HubLink,
        wait_s: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """`wait_s` is how long to wait for a hub that serves the pair."""
        self.channel: Channel | None = None
        self._left: Channel | None = None  # the last session, while another is asked for
        self._opening: Opening | None = None
        self._weighed: dict[str, Any] = {}  # what the hub had said when it was last thought over whether to stay
        self._link = link
        self._wait_s = wait_s
        self._clock, self._sleep = clock, sleep

    @property
    def seen(self) -> SeenHub:
        """What the session's hub has published about itself."""
        return self._link.seen(self.channel.hub) if self.channel is not None else SeenHub()

    @property
    def bytes_down(self) -> int:
        """Payload bytes that came in all sessions so far."""
        return self._link.bytes_down

    @property
    def trouble(self) -> str:
        """What keeps an answer from going on, as a sentence; nothing when all is as it should be."""
        if self._link.trouble:
            return self._link.trouble
        if self._opening is not None:
            return str(self._opening.failure())
        hub = self._open_channel.hub
        if not self.seen.online:
            return f"hub {hub!r} is offline"
        return f"hub {hub!r} says nothing: it hangs or is gone" if self._link.is_silent(hub) else ""

    @property
    def is_asking(self) -> bool:
        """Whether a session is being asked for."""
        return self._opening is not None

    def open(self, on_wait: Callable[[str], None], limit_s: float | None = None) -> Channel:
        """Open a session, waiting for a hub if need be; `limit_s` seconds at most, also for a hub that was asked.

        `on_wait` is told again and again what for, and "" at the end.
        Raises SessionError or LinkError.
        """
        self.ask()
        began = self._clock()
        while self.channel is None:
            self.receive(_STEP_S)
            if self._opening is not None:
                waited_s = self._clock() - began
                if waited_s >= _TOLD_S:
                    on_wait(str(self._opening.failure()))
                answers_s = 0.0 if self._opening.hub is None else _ANSWER_S
                if waited_s >= (self._wait_s + answers_s if limit_s is None else limit_s):
                    failure = self._opening.failure()
                    self.leave()
                    raise failure
        on_wait("")
        return self.channel

    def ask(self) -> None:
        """Begin to ask for a session; `receive` brings it."""
        if self.channel is None and self._opening is None:
            self._opening = self._link.opening()

    def leave(self) -> None:
        """Leave the session, if there is one, or give up asking for one."""
        if self.channel is not None:
            self._link.leave(self.channel)
        if self._opening is not None:
            self._opening.abandon()
        self.channel = self._opening = self._left = None

    def send(self, draft: Draft) -> int:
        """Publish a round; the size of its payload in bytes."""
        return 0 if self.channel is None else self._link.send(self.channel, draft)

    def receive(self, timeout_s: float) -> HubMessage | News | None:
        """The next message of the session, or news, or None when neither comes in time; 0 looks at what is there.

        Raises SessionError or LinkError; HubRefused where another target runs than before, and then no session is open.
        """
        if self._opening is None:
            return self._link.receive(self._open_channel, timeout_s)
        channel = self._opening.step(timeout_s)
        if channel is None:
            return None
        left, self._left, self._opening = self._left, None, None
        if left is not None and channel.opened.target != left.opened.target:
            self._link.leave(channel)
            raise HubRefused(
                f"hub {channel.hub!r} runs {channel.opened.target!r} instead of {left.opened.target!r}, which would go "
                "on with another text; ask again"
            )
        self.channel = channel
        return News.OPENED

    def has_left(self) -> bool:
        """Whether to look for another session: the hub is gone, or it is silent and there is another one."""
        if self.channel is None or self._link.trouble:
            return False
        hub = self.channel.hub
        if not self.seen.online:
            return True
        return self._link.is_silent(hub) and self._link.has_other(hub, self.channel.opened.target)

    def is_crowded(self) -> bool:
        """Whether the session should be left for another hub, as this one has more than its share of them.

        Chance decides, so that of its sessions about as many leave as it has too many. It is asked once for each word of the hub.
        """
        if self.channel is None or self._link.trouble:
            return False
        told = self.seen.stats
        if told is self._weighed:
            return False
        self._weighed = told
        return random.random() < self._link.excess(self.channel.hub, self.channel.opened.target)

    def reopen(self, reason: str) -> None:
        """Leave the session for a new one, with the same hub if it is there. `receive` brings it."""
        log.warning("%s; opening a new session", reason)
        left = self._open_channel
        self.leave()
        self._left = left
        self._opening = self._link.opening(prefer=left.hub, target=left.opened.target)

    def reopen_after(self, fault: Fault) -> None:
        """Leave a session that cannot go on, if another one helps. Raises HubRefused where it does not."""
        if fault.code is FaultCode.BUSY:
            self._sleep(pause_s(fault))
        elif fault.code not in (FaultCode.UNKNOWN_SESSION, FaultCode.OUT_OF_SYNC, FaultCode.MOVED):
            raise HubRefused(f"hub {self._open_channel.hub!r}: {fault.detail}")
        self.reopen(fault.detail)

    @property
    def _open_channel(self) -> Channel:
        assert self.channel is not None
        return self.channel
