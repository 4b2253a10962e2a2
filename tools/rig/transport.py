"""How emulated devices reach a hub: over a broker, as real ones do. `tools.rig.memory_transport` has another way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from shared.codec import decode, encode, encode_in, split_session
from shared.messages import AnyMessage, Close, Draft, Open
from shared.mqtt import MqttLink
from shared.settings import BrokerSettings
from shared.topics import Topics
from tools.rig.testbed import HUB

Result = TypeVar("Result")

_EXPIRY_S = 60


class Transport(Protocol):
    """Sends what devices say to a hub; what it answers comes to the function given to `listen`, on another thread."""

    def listen(self, receive: Callable[[bytes, AnyMessage], None]) -> None:
        """Connect; `receive` is given a session and what it is told, Opened, too, which names the session itself."""

    def send(self, session: bytes, message: Open | Draft | Close) -> None:
        """Send."""

    def stats(self) -> dict[str, Any]:
        """The hub's counters, at `at_us` of its clock."""

    def serve_during(self, work: Callable[[], Result]) -> Result:
        """See to it that the hub serves while `work` runs; what it returns."""

    def close(self) -> None:
        """Disconnect."""


class BrokerTransport:
    """One connection to a running hub's broker, in the name of one node."""

    def __init__(self, settings: BrokerSettings, node: str, stats: Callable[[], dict[str, Any]] = dict) -> None:
        """`stats` returns what the hub published last."""
        self.stats = stats
        self._node = node
        self._topics = Topics(settings.prefix)
        self._link = MqttLink(settings, node)

    def listen(self, receive: Callable[[bytes, AnyMessage], None]) -> None:
        """Connect. Raises LinkError."""

        def on_opened(_: str, payload: bytes) -> None:
            message = decode(payload)
            session = getattr(message, "session", None)
            if session is not None:
                receive(session, message)

        def on_verdict(_: str, payload: bytes) -> None:
            session, frame = split_session(payload)
            receive(session, decode(frame))

        self._link.connect()
        self._link.subscribe(self._topics.opened(self._node), on_opened)
        self._link.subscribe(self._topics.verdict(HUB, self._node), on_verdict)

    def send(self, session: bytes, message: Open | Draft | Close) -> None:
        """Publish at QoS 1."""
        opening = isinstance(message, Open)
        topic = self._topics.open(HUB, self._node) if opening else self._topics.draft(HUB, self._node)
        payload = encode(message) if opening else encode_in(session, message)
        self._link.publish(topic, payload, expiry_s=_EXPIRY_S)

    def serve_during(self, work: Callable[[], Result]) -> Result:
        """Nothing has to be done: the hub is another process."""
        return work()

    def close(self) -> None:
        """Disconnect, once the broker has what was sent."""
        self._link.close()
