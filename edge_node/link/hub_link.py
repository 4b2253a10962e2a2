"""The node's side of the broker: opening a session with a hub, rounds out and verdicts in."""

from __future__ import annotations

import contextlib
import logging
import queue
import time
from functools import partial

from edge_node.link.channel import Channel, HubMessage, News
from edge_node.link.directory import HubDirectory, SeenHub
from edge_node.link.opening import Opening
from shared.codec import decode, encode, encode_in, split_session
from shared.errors import BrokerRefused, ProtocolError
from shared.malformed import MalformedFrames
from shared.messages import AnyMessage, Close, Draft, Early, Fault, Open, Opened, Verdict
from shared.mqtt import MqttLink
from shared.pair import Pair
from shared.settings import BrokerSettings
from shared.topics import Topics, check_name

log = logging.getLogger(__name__)

_EXPIRY_S = 60
_TOO_LARGE = "Quota exceeded"  # what the link gives as the reason for that
_LOOK_S = 0.2  # seconds between two looks at whether the broker has refused something


class HubLink:
    """A connection to the broker in the name of one node. One session at a time is spoken on it."""

    def __init__(self, settings: BrokerSettings, node: str, pair: Pair) -> None:
        self._malformed = MalformedFrames(log)
        self.bytes_down = 0  # payload bytes of verdicts
        self._node = check_name(node, "node name")
        self._pair = pair
        self._tokenizer = pair.tokenizer_hash()
        self._topics = Topics(settings.prefix)
        self._directory = HubDirectory(self._topics, pair.name, self._tokenizer)
        self._opens: queue.Queue[Opened | Fault] = queue.Queue(64)
        self._verdicts: queue.Queue[HubMessage | News] = queue.Queue(4096)
        # Another program of the same name may have sessions of its own. What is said of those is not for this one.
        self._opening = b""  # the session that this program asked for last
        self._spoken = b""  # the session that a hub opened for it last
        self._refusal: str | None = None
        self._link = MqttLink(settings, node)
        self._link.on_refused = self._on_refused

    def connect(self, *, at_once: bool = True) -> None:
        """Connect to the broker and listen, `at_once` or as soon as there is one. Raises LinkError."""
        self._link.connect(at_once=at_once)
        for leaf in HubDirectory.LEAVES:
            self._link.subscribe(
                self._topics.hub("+", leaf),
                partial(self._note_hub, kept=False),
                kept=partial(self._note_hub, kept=True),
            )
        self._link.subscribe(self._topics.opened(self._node), self._on_opened)
        self._link.subscribe(self._topics.verdict("+", self._node), self._on_verdict)
        self._link.greet(lambda: self._tell(News.CONNECTED))

    @property
    def trouble(self) -> str:
        """What is wrong with the way to the broker; nothing if all is well."""
        return self._link.trouble

    def leave(self, channel: Channel) -> None:
        """Tell the hub that the session is over."""
        self.give_up(channel.hub, channel.session)

    def close(self) -> None:
        """Disconnect, once the broker has what was sent."""
        self._link.close()

    def opening(self, prefer: str | None = None, target: str | None = None) -> Opening:
        """A session to be asked for: with the hub `prefer` where it is there, with `target` at one that runs it."""
        return Opening(self, self._directory, prefer, target)

    def send(self, channel: Channel, draft: Draft) -> int:
        """Publish a round; the size of its payload in bytes."""
        payload = encode_in(channel.session, draft)
        self._link.publish(self._draft_topic(channel.hub), payload, expiry_s=_EXPIRY_S)
        return len(payload)

    def receive(self, channel: Channel, timeout_s: float) -> HubMessage | News | None:
        """The next message of the session's hub, or news, or None when neither comes in time; 0 looks at what is there."""
        deadline = time.monotonic() + timeout_s
        while True:
            self._raise_refusal()
            remaining = deadline - time.monotonic()
            try:
                arrival = self._verdicts.get(block=remaining > 0, timeout=max(0.0, remaining))
            except queue.Empty:
                return None
            if isinstance(arrival, News) or arrival.session == channel.session:
                return arrival

    def seen(self, hub: str) -> SeenHub:
        """What the hub has published last; an offline hub without facts when it has published nothing."""
        return self._directory.seen(hub)

    def is_silent(self, hub: str) -> bool:
        """Whether the hub has missed a word that it would have said by now."""
        return self._directory.is_silent(hub)

    def has_other(self, hub: str, target: str) -> bool:
        """Whether another hub lives that runs the target."""
        other = self._directory.choose(None, {hub}, target)
        return other not in (None, hub) and not self._directory.is_silent(str(other))

    def ask_for(self, hub: str, session: bytes) -> None:
        """Ask a hub for a session. What it answers comes by `reply`."""
        self._opening = session
        # An older hub does not read a request for what it cannot say.
        wants_bits = "bits" in self._directory.seen(hub).info
        request = encode(Open(session, self._pair.name, self._tokenizer, wants_bits))
        self._link.publish(self._topics.open(hub, self._node), request, expiry_s=_EXPIRY_S)

    def reply(self, session: bytes, timeout_s: float) -> Opened | Fault | None:
        """What was answered about that session, or None when nothing comes in time."""
        deadline = time.monotonic() + timeout_s
        while True:
            self._raise_refusal()
            try:
                answer = self._opens.get(timeout=max(0.0, min(_LOOK_S, deadline - time.monotonic())))
            except queue.Empty:
                if time.monotonic() >= deadline:
                    return None
                continue
            if answer.session == session:
                if isinstance(answer, Opened):
                    self._spoken = session
                    self._forget_what_came()
                return answer

    def _forget_what_came(self) -> None:
        """Nothing that came so far is about the session that begins."""
        with contextlib.suppress(queue.Empty):
            while True:
                self._verdicts.get_nowait()

    def give_up(self, hub: str, session: bytes) -> None:
        """Tell a hub that the session is not wanted any more."""
        self._link.publish(self._draft_topic(hub), encode_in(session, Close()), expiry_s=_EXPIRY_S)

    def _draft_topic(self, hub: str) -> str:
        return self._topics.draft(hub, self._node)

    def _raise_refusal(self) -> None:
        if self._refusal is not None:
            reason, self._refusal = self._refusal, None
            if reason == _TOO_LARGE:
                raise BrokerRefused(
                    "the broker does not take a message of this size: shorten the request, or raise message_size_limit and "
                    "max_packet_size in its configuration"
                )
            raise BrokerRefused(
                f"the broker does not let {self._node!r} publish ({reason}); its user name must be the node's name, "
                "and its ACL that of deploy/mosquitto"
            )

    def _on_refused(self, reason: str) -> None:
        self._refusal = reason

    def _note_hub(self, topic: str, payload: bytes, *, kept: bool) -> None:
        try:
            if self._directory.take_in(topic, payload, kept=kept):
                self._tell(News.HUB)
        except ProtocolError as error:
            self._malformed.note(topic, error)

    def _on_opened(self, topic: str, payload: bytes) -> None:
        message = self._decode(topic, payload)
        if not isinstance(message, (Opened, Fault)) or message.session != self._opening:
            return
        if not self._opens.full():
            self._opens.put_nowait(message)

    def _on_verdict(self, topic: str, payload: bytes) -> None:
        try:
            hub = self._topics.parties_of(topic).hub
            session, frame = split_session(payload)
        except ProtocolError as error:
            self._malformed.note(topic, error)
            return
        message = self._decode(topic, frame) if session == self._spoken else None
        if not isinstance(message, (Verdict, Early, Fault)):
            return
        self._directory.hear(hub)
        self.bytes_down += len(payload)
        if self._verdicts.full():
            log.warning("verdicts arrive faster than they are read; one is dropped and will be asked for again")
        else:
            self._verdicts.put_nowait(HubMessage(session, message, time.monotonic()))

    def _tell(self, news: News) -> None:
        if not self._verdicts.full():
            self._verdicts.put_nowait(news)

    def _decode(self, topic: str, payload: bytes) -> AnyMessage | None:
        try:
            return decode(payload)
        except ProtocolError as error:
            self._malformed.note(topic, error)
            return None
