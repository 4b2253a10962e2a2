"""What arrives for the hub: decoded and checked on the MQTT client's thread, then queued for the engine's."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from hub.engine.inbox import Arrival
from hub.sessions.session import Limits, SessionKey, too_long
from shared.codec import decode
from shared.errors import ProtocolError
from shared.messages import AnyMessage, Close, Draft, Fault, Open
from shared.topics import Topics

log = logging.getLogger(__name__)


class Intake:
    """The handlers of the hub's two subscriptions. Only the MQTT client's thread calls them and writes here."""

    def __init__(self, topics: Topics, limits: Limits, submit: Callable[[Arrival], None]) -> None:
        """`submit` queues a message for the engine."""
        self.malformed = 0  # frames that could not be read, or do not belong on their topic
        self._topics = topics
        self._limits = limits
        self._submit = submit

    def on_open(self, topic: str, payload: bytes) -> None:
        """Queue an `Open`."""
        arrived = time.monotonic()
        try:
            node = self._topics.opener_of(topic)
            message = _decoded(payload, (Open,))
        except ProtocolError as error:
            self._count_malformed(topic, error)
            return
        assert isinstance(message, Open)
        self._submit(Arrival(SessionKey(node, message.session), message, arrived))

    def on_draft(self, topic: str, payload: bytes) -> None:
        """Queue a `Draft` or a `Close`.

        A draft that no context could hold is refused before it waits: thousands of such drafts would be gigabytes.
        """
        arrived = time.monotonic()
        try:
            parties = self._topics.session_of(topic)
            message = _decoded(payload, (Draft, Close))
        except ProtocolError as error:
            self._count_malformed(topic, error)
            return
        assert isinstance(message, (Draft, Close))
        queued: Draft | Close | Fault = message
        if isinstance(message, Draft) and len(message.append) > self._limits.context:
            queued = too_long(message, len(message.append), self._limits)
        self._submit(Arrival(SessionKey(parties.node, parties.session), queued, arrived))

    def _count_malformed(self, topic: str, error: ProtocolError) -> None:
        self.malformed += 1
        log.warning("a malformed frame on %s: %s", topic[:200], str(error)[:200])


def _decoded(payload: bytes, kinds: tuple[type, ...]) -> AnyMessage:
    message = decode(payload)
    if not isinstance(message, kinds):
        raise ProtocolError(f"{type(message).__name__} does not belong on this topic")
    return message
