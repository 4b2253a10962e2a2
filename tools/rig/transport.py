"""How emulated devices reach a hub: over a broker as real ones do, or, for a look at the engine alone, in memory."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol, TypeVar

from hub.assembly import assemble
from hub.engine.inbox import Arrival
from hub.model.target import Target
from hub.sessions.session import Limits, SessionKey
from hub.settings import HubSettings
from shared.codec import decode, encode
from shared.messages import AnyMessage, Close, Draft, Open, Opened
from shared.mqtt import MqttLink
from shared.settings import BrokerSettings
from shared.topics import Topics
from tools.rig.testbed import HUB

Result = TypeVar("Result")

_EXPIRY_S = 60
_END_ID = 0


class Transport(Protocol):
    """Sends what devices say to a hub; what it answers comes to the function given to `listen`, on another thread."""

    def listen(self, receive: Callable[[bytes, AnyMessage], None]) -> None:
        """Connect; `receive` is given a session and what it is told, Opened without a session's own topic too."""

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

        def on_verdict(topic: str, payload: bytes) -> None:
            receive(self._topics.session_of(topic).session, decode(payload))

        self._link.connect()
        self._link.subscribe(self._topics.opened(self._node), on_opened)
        self._link.subscribe(self._topics.verdict(HUB, self._node, "+"), on_verdict)

    def send(self, session: bytes, message: Open | Draft | Close) -> None:
        """Publish at QoS 1."""
        opening = isinstance(message, Open)
        topic = self._topics.open(HUB, self._node) if opening else self._topics.draft(HUB, self._node, session.hex())
        self._link.publish(topic, encode(message), expiry_s=_EXPIRY_S)

    def serve_during(self, work: Callable[[], Result]) -> Result:
        """Nothing has to be done: the hub is another process."""
        return work()

    def close(self) -> None:
        """Disconnect, once the broker has what was sent."""
        self._link.close()


class MemoryTransport:
    """An engine in this process, with queues where a broker would be: what is left is the engine and the target."""

    def __init__(self, target: Target) -> None:
        settings = HubSettings(max_sessions=2**16, max_sessions_per_node=2**16)
        limits = Limits(target.context, target.vocab_size, frozenset({_END_ID}), settings.max_draft)
        self._said: queue.SimpleQueue[tuple[bytes, AnyMessage] | None] = queue.SimpleQueue()
        self._engine = assemble(
            target,
            limits,
            settings,
            group=lambda _: b"fleet",
            answer_open=lambda message: Opened(
                message.session, "fleet", limits.context, limits.max_draft, (_END_ID,), 0.0, 0, 1.0
            ),
            publish=lambda key, message: self._said.put((key.id, message)),
        )

    def listen(self, receive: Callable[[bytes, AnyMessage], None]) -> None:
        """Deliver what the engine says, from now on."""

        def deliver() -> None:
            while (said := self._said.get()) is not None:
                receive(*said)

        threading.Thread(target=deliver, daemon=True).start()

    def serve_during(self, work: Callable[[], Result]) -> Result:
        """Run the engine on this thread, which must have loaded the target, while `work` runs on another."""
        stop = threading.Event()
        with ThreadPoolExecutor(1) as pool:
            done = pool.submit(work)
            done.add_done_callback(lambda _: stop.set())
            self._engine.run(stop)
            return done.result()

    def send(self, session: bytes, message: Open | Draft | Close) -> None:
        """Put the message into the engine's inbox."""
        self._engine.submit(Arrival(SessionKey("fleet", session), message, time.monotonic()))

    def stats(self) -> dict[str, Any]:
        """The engine's counters."""
        return self._engine.stats.as_json(at_us=int(time.monotonic() * 1e6))

    def close(self) -> None:
        """Stop delivering."""
        self._said.put(None)
