"""What must reach people: kept until the broker has given it to somebody, and sent again where the connection was lost, or nobody was there."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from shared.errors import LinkError
from shared.mqtt import NOT_SENT, MqttLink, Sent

log = logging.getLogger(__name__)

_MOST = 256  # messages that are kept


@dataclass
class _Message:
    topic: str
    payload: str
    correlation: bytes
    until: float  # by time.monotonic
    otherwise: str  # the topic for a message that the broker does not take on the first one
    sent: Sent = NOT_SENT


class Outbox:
    """To be used on one thread."""

    def __init__(self, link: MqttLink, clock: Callable[[], float] = time.monotonic) -> None:
        self._link, self._clock = link, clock
        self._waiting: deque[_Message] = deque()

    def send(
        self, topic: str, payload: str, *, good_for_s: float, correlation: bytes = b"", otherwise: str = ""
    ) -> None:
        """Send a message, and again as long as nobody has been given it and it is still good for something.

        `otherwise` is the topic for it if the broker does not let this node write to the first one.
        """
        while self._waiting and (len(self._waiting) >= _MOST or self._waiting[0].sent.was_read):
            first = self._waiting.popleft()
            if not first.sent.was_read:
                log.warning("more than %d messages wait for the broker: one to %s is lost", _MOST, first.topic)
        message = _Message(topic, payload, correlation, self._clock() + good_for_s, otherwise)
        self._waiting.append(message)
        self._publish(message)

    def drop(self, topic: str) -> None:
        """Send nothing again that was sent to that topic."""
        self._waiting = deque(message for message in self._waiting if message.topic != topic)

    def send_again(self, *, lost: bool) -> None:
        """Send what nobody has been given, and where the connection was `lost` what may never have come to the broker.

        Who reads it knows by its id what it has had before.
        """
        waiting, self._waiting = self._waiting, deque()
        for message in waiting:
            if message.sent.was_read:
                continue
            if self._clock() > message.until:
                log.warning("nobody has read a message to %s in time; it is not sent any more", message.topic)
                continue
            if message.sent.refusal:
                log.warning("the broker does not take a message to %s: %s", message.topic, message.sent.refusal)
                if not message.otherwise:
                    continue
                message.topic, message.otherwise = message.otherwise, ""
            self._waiting.append(message)
            if lost or message.sent.is_answered:
                self._publish(message)

    def _publish(self, message: _Message) -> None:
        left_s = max(1, round(message.until - self._clock()))
        try:
            message.sent = self._link.publish(
                message.topic, message.payload, expiry_s=left_s, correlation=message.correlation
            )
        except LinkError as error:
            log.warning("%s", error)
