"""How emulated devices reach an engine in this process: in memory, for a look at the engine alone."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from hub.assembly import assemble
from hub.engine.inbox import Arrival
from hub.model.target import Target
from hub.sessions.session import Limits, SessionKey
from hub.settings import HubSettings
from shared.messages import AnyMessage, Close, Draft, Open, Opened
from tools.rig.transport import Result

_END_ID = 0


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
        self._engine.submit(Arrival.of(SessionKey("fleet", session), message, time.monotonic()))

    def stats(self) -> dict[str, Any]:
        """The engine's counters."""
        return self._engine.stats.as_json(at_us=int(time.monotonic() * 1e6))

    def close(self) -> None:
        """Stop delivering."""
        self._said.put(None)
