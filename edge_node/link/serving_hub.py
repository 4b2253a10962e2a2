"""The hub that verifies for a node: a session is opened with it, and opened anew when the hub has lost it or falls silent."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable

from edge_node.link.directory import SeenHub
from edge_node.link.hub_link import Channel, HubLink, HubMessage
from shared.errors import HubRefused
from shared.messages import Draft, Fault, FaultCode

log = logging.getLogger(__name__)


class ServingHub:
    """One session at a time. All but `open` and `leave` is for when there is one."""

    def __init__(self, link: HubLink, wait_s: float, sleep: Callable[[float], None] = time.sleep) -> None:
        """`wait_s` is how long to wait for a hub that serves the pair."""
        self.channel: Channel | None = None
        self._link = link
        self._wait_s = wait_s
        self._sleep = sleep

    @property
    def name(self) -> str:
        """The hub's."""
        return self._open_channel.hub

    @property
    def seen(self) -> SeenHub:
        """What it has published about itself."""
        return self._link.seen(self.name)

    @property
    def bytes_down(self) -> int:
        """Payload bytes that came in all sessions so far."""
        return self._link.bytes_down

    def open(self) -> Channel:
        """Open a session. Raises SessionError or LinkError."""
        self.channel = self._link.open(self._wait_s)
        return self.channel

    def leave(self) -> None:
        """Leave the session, if there is one."""
        if self.channel is not None:
            self._link.leave(self.channel)
            self.channel = None

    def send(self, draft: Draft) -> int:
        """Publish a round; the size of its payload in bytes."""
        return self._link.send(self._open_channel, draft)

    def receive(self, timeout_s: float) -> HubMessage | None:
        """The next message of the session, or None when none comes in time; 0 looks at what is there."""
        return self._link.receive(self._open_channel, timeout_s)

    def prepare_reopening(self, fault: Fault) -> None:
        """Wait, if a fault asks for it, before the session is opened anew. Raises HubRefused where that will not help."""
        if fault.code is FaultCode.BUSY:
            self._sleep(fault.retry_after_ms / 1e3 * random.uniform(0.5, 1.5))  # or all would come back at once
        elif fault.code not in (FaultCode.UNKNOWN_SESSION, FaultCode.OUT_OF_SYNC):
            raise HubRefused(f"hub {self.name!r}: {fault.detail}")

    def reopen(self, reason: str) -> Channel:
        """Leave the session for a new one, with the same hub if it is there.

        Raises SessionError or LinkError, HubRefused where another target runs, and then no session is open.
        """
        log.warning("%s; opening a new session", reason)
        left = self._open_channel
        self.leave()
        channel = self._link.open(self._wait_s, prefer=left.hub)
        if channel.opened.target != left.opened.target:
            self._link.leave(channel)
            raise HubRefused(
                f"{reason}, and hub {channel.hub!r} runs {channel.opened.target!r} instead of "
                f"{left.opened.target!r}, which would go on with another text; ask again"
            )
        self.channel = channel
        return channel

    @property
    def _open_channel(self) -> Channel:
        assert self.channel is not None
        return self.channel
