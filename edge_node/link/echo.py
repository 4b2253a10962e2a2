"""Messages that a node writes to itself: whether the broker has rules for it, and how fast messages come."""

from __future__ import annotations

import math
import queue
import time
from collections.abc import Iterator
from contextlib import contextmanager

from shared.errors import BrokerRefused, LinkError
from shared.mqtt import MqttLink
from shared.settings import BrokerSettings
from shared.topics import Topics

_ECHO_S = 5.0  # seconds for a message to come back
# Bytes of what is sent to measure the rate, the smaller first. The larger is below what the broker's configuration lets through.
_SMALL, _LARGE = 64 * 2**10, 512 * 2**10
_QUICK_S = 0.15  # seconds of the small one, from which on the large one would take too long
_TIMES = 3


class Echo:
    """A connection on which what is sent comes back."""

    def __init__(self, link: MqttLink, topic: str) -> None:
        self._link, self._topic = link, topic
        self._back: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        link.subscribe(topic, lambda _, payload: self._back.put(payload), retained=False)

    def seconds(self, size: int) -> float:
        """Seconds that a message of so many bytes takes there and back; infinite where it does not come within 5 s, or is too large."""
        payload = bytes(size)
        began = time.perf_counter()
        try:
            self._link.publish(self._topic, payload)
            while self._back.get(timeout=_ECHO_S) != payload:
                pass
        except (LinkError, queue.Empty):
            return math.inf
        return time.perf_counter() - began

    def rate(self, size: int) -> float:
        """Bytes a second, the best of some tries."""
        best = 0.0
        for _ in range(_TIMES):
            rate = size / self.seconds(size)
            best = max(best, rate)
            if not rate:
                break  # it would be waited for again
        return best


@contextmanager
def echoing(broker: BrokerSettings, node: str) -> Iterator[Echo]:
    """Connect for as long as the context lasts, and see that messages come back.

    Raises BrokerRefused where they don't, another LinkError, or SettingsError for the credential's files.
    """
    link, topic = MqttLink(broker, node), Topics(broker.prefix).echo(node, "there")
    link.connect()
    try:
        echo = Echo(link, topic)
        if math.isinf(echo.seconds(0)):
            raise BrokerRefused(
                f"the broker accepts {node!r}, but what is written to {topic} does not come back: its ACL has no rules for "
                "the name; on the broker's machine run `sled-hub init-broker`, which writes them anew, and let mosquitto "
                "read them: systemctl reload mosquitto"
            )
        yield echo
    finally:
        link.close()


def link_rate(broker: BrokerSettings, node: str) -> float:
    """Bytes a second that come from the broker, at least: the time of the way there counts too. Raises as `echoing` does."""
    with echoing(broker, node) as echo:
        rate = echo.rate(_SMALL)
        if rate > _SMALL / _QUICK_S:
            rate = max(rate, echo.rate(_LARGE))
    if not rate:
        raise LinkError(f"{_SMALL // 2**10} KiB take more than {_ECHO_S:g} s to the broker and back")
    return rate
