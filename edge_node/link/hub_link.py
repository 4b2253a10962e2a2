"""The node's side of the broker: opening a session with a hub, rounds out and verdicts in."""

from __future__ import annotations

import logging
import queue
import random
import secrets
import time
from dataclasses import dataclass

from edge_node.link.directory import HubDirectory, SeenHub
from shared.codec import decode, encode
from shared.errors import BrokerRefused, HubRefused, HubSilent, IncompatiblePair, ProtocolError
from shared.messages import AnyMessage, Close, Draft, Early, Fault, FaultCode, Open, Opened, Verdict
from shared.mqtt import MqttLink
from shared.pair import Pair
from shared.settings import BrokerSettings
from shared.topics import Topics, check_name

log = logging.getLogger(__name__)

_EXPIRY_S = 60
_OPEN_ATTEMPTS = 3
_OPEN_PATIENCE_S = 3.0


@dataclass(frozen=True)
class Channel:
    """An open session with a hub."""

    hub: str
    session: bytes
    opened: Opened


@dataclass(frozen=True, slots=True)
class HubMessage:
    """A message of a session's hub, and when it came by `time.monotonic`."""

    session: bytes
    message: Verdict | Early | Fault
    at: float


class HubLink:
    """A connection to the broker in the name of one node. One session at a time is spoken on it."""

    def __init__(self, settings: BrokerSettings, node: str, pair: Pair) -> None:
        self.malformed = 0
        self.bytes_down = 0  # payload bytes of verdicts
        self._node = check_name(node, "node name")
        self._pair = pair
        self._tokenizer = pair.tokenizer_hash()
        self._topics = Topics(settings.prefix)
        self._directory = HubDirectory(self._topics, pair.name, self._tokenizer)
        self._opens: queue.Queue[Opened | Fault] = queue.Queue(64)
        self._verdicts: queue.Queue[HubMessage] = queue.Queue(4096)
        # Another program of the same name may have sessions of its own. What is said of those is not for this one.
        self._opening: bytes | None = None  # the session that this program asked for last
        self._spoken: bytes | None = None  # the session that a hub opened for it last
        self._refusal: str | None = None
        self._link = MqttLink(settings, node)
        self._link.on_refused = self._on_refused

    def connect(self) -> None:
        """Connect to the broker and listen. Raises LinkError."""
        self._link.connect()
        for leaf in HubDirectory.LEAVES:
            self._link.subscribe(self._topics.hub("+", leaf), self._on_hub)
        self._link.subscribe(self._topics.opened(self._node), self._on_opened)
        self._link.subscribe(self._topics.verdict("+", self._node, "+"), self._on_verdict)

    def leave(self, channel: Channel) -> None:
        """Tell the hub that the session is over."""
        self._link.publish(self._draft_topic(channel), encode(Close()), expiry_s=_EXPIRY_S)

    def close(self) -> None:
        """Disconnect, once the broker has what was sent."""
        self._link.close()

    def open(self, wait_s: float, prefer: str | None = None) -> Channel:
        """Open a session with a hub that serves the pair, waiting up to `wait_s` seconds for one.

        The hub `prefer` is taken where it is there. Raises NoHub, IncompatiblePair, BrokerRefused, HubSilent or HubRefused.
        """
        deadline = time.monotonic() + wait_s
        while True:
            hub = self._directory.find(deadline, prefer)
            answer = self._try_open(hub)
            if isinstance(answer, Channel):
                return answer
            if answer.code is FaultCode.WRONG_TOKENIZER:
                raise IncompatiblePair(f"hub {hub!r}: {answer.detail}")
            pause = answer.retry_after_ms / 1e3 * random.uniform(0.5, 1.5)
            if answer.code is not FaultCode.BUSY or time.monotonic() + pause > deadline:
                raise HubRefused(f"hub {hub!r}: {answer.detail}")
            time.sleep(pause)

    def send(self, channel: Channel, draft: Draft) -> int:
        """Publish a round; the size of its payload in bytes."""
        payload = encode(draft)
        self._link.publish(self._draft_topic(channel), payload, expiry_s=_EXPIRY_S)
        return len(payload)

    def receive(self, channel: Channel, timeout_s: float) -> HubMessage | None:
        """The next message of the session's hub, or None when none comes in time; 0 looks at what is there."""
        deadline = time.monotonic() + timeout_s
        while True:
            self._raise_refusal()
            remaining = deadline - time.monotonic()
            try:
                arrival = self._verdicts.get(block=remaining > 0, timeout=max(0.0, remaining))
            except queue.Empty:
                return None
            if arrival.session == channel.session:
                return arrival

    def seen(self, hub: str) -> SeenHub:
        """What the hub has published last; an offline hub without facts when it has published nothing."""
        return self._directory.seen(hub)

    def _try_open(self, hub: str) -> Channel | Fault:
        session = self._opening = secrets.token_bytes(16)
        request = encode(Open(session, self._pair.name, self._tokenizer))
        for _ in range(_OPEN_ATTEMPTS):
            self._link.publish(self._topics.open(hub, self._node), request, expiry_s=_EXPIRY_S)
            deadline = time.monotonic() + _OPEN_PATIENCE_S
            while (remaining := deadline - time.monotonic()) > 0:
                self._raise_refusal()
                try:
                    answer = self._opens.get(timeout=min(remaining, 0.2))
                except queue.Empty:
                    continue
                if answer.session != session:
                    continue
                if isinstance(answer, Fault):
                    return answer
                self._spoken = session
                return Channel(hub, session, answer)
        raise HubSilent(
            f"hub {hub!r} says it is online but does not answer; either it hangs, or the broker's ACL does not let "
            f"{self._node!r} read {self._topics.opened(self._node)}"
        )

    def _draft_topic(self, channel: Channel) -> str:
        return self._topics.draft(channel.hub, self._node, channel.session.hex())

    def _raise_refusal(self) -> None:
        if self._refusal is not None:
            reason, self._refusal = self._refusal, None
            raise BrokerRefused(
                f"the broker does not let {self._node!r} publish ({reason}); its user name must be the node's name, "
                "and its ACL that of deploy/mosquitto"
            )

    def _on_refused(self, reason: str) -> None:
        self._refusal = reason

    def _on_hub(self, topic: str, payload: bytes) -> None:
        try:
            self._directory.take_in(topic, payload)
        except ProtocolError as error:
            self._count_malformed(topic, error)

    def _on_opened(self, topic: str, payload: bytes) -> None:
        message = self._decode(topic, payload)
        if not isinstance(message, (Opened, Fault)) or message.session != self._opening:
            return
        if not self._opens.full():
            self._opens.put_nowait(message)

    def _on_verdict(self, topic: str, payload: bytes) -> None:
        try:
            session = self._topics.session_of(topic).session
        except ProtocolError as error:
            self._count_malformed(topic, error)
            return
        message = self._decode(topic, payload) if session == self._spoken else None
        if not isinstance(message, (Verdict, Early, Fault)):
            return
        self.bytes_down += len(payload)
        if self._verdicts.full():
            log.warning("verdicts arrive faster than they are read; one is dropped and will be asked for again")
        else:
            self._verdicts.put_nowait(HubMessage(session, message, time.monotonic()))

    def _decode(self, topic: str, payload: bytes) -> AnyMessage | None:
        try:
            return decode(payload)
        except ProtocolError as error:
            self._count_malformed(topic, error)
            return None

    def _count_malformed(self, topic: str, error: Exception) -> None:
        self.malformed += 1
        log.warning("a malformed message on %s: %s", topic[:200], str(error)[:200])
