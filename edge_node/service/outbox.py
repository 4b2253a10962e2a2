"""What must reach people: kept until the broker has confirmed it, and sent again where the connection was lost before."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from shared.errors import LinkError
from shared.mqtt import MqttLink

log = logging.getLogger(__name__)

_MOST = 256  # messages that are kept


@dataclass
class _Message:
    topic: str
    payload: str
    correlation: bytes
    until: float  # by time.monotonic
    has_arrived: Callable[[], bool]


class Outbox:
    """To be used on one thread."""

    def __init__(self, link: MqttLink, clock: Callable[[], float] = time.monotonic) -> None:
        self._link, self._clock = link, clock
        self._waiting: deque[_Message] = deque()

    def send(self, topic: str, payload: str, *, good_for_s: float, correlation: bytes = b"") -> None:
        """Send a message, and again as long as the broker has not confirmed it and it is still good for something."""
        while self._waiting and (len(self._waiting) >= _MOST or self._waiting[0].has_arrived()):
            first = self._waiting.popleft()
            if not first.has_arrived():
                log.warning("more than %d messages wait for the broker: one to %s is lost", _MOST, first.topic)
        message = _Message(topic, payload, correlation, self._clock() + good_for_s, lambda: False)
        self._waiting.append(message)
        self._publish(message)

    def send_again(self) -> None:
        """The connection is there again: send what has not arrived. Who reads it knows by its id what it has had before."""
        waiting, self._waiting = self._waiting, deque()
        for message in waiting:
            if message.has_arrived():
                continue
            if self._clock() > message.until:
                log.warning("the broker was away for too long: a message to %s is not sent any more", message.topic)
                continue
            self._waiting.append(message)
            self._publish(message)

    def _publish(self, message: _Message) -> None:
        left_s = max(1, round(message.until - self._clock()))
        try:
            message.has_arrived = self._link.publish(
                message.topic, message.payload, expiry_s=left_s, correlation=message.correlation
            )
        except LinkError as error:
            log.warning("%s", error)
