"""The node's connection to the broker, which all its conversations share."""

from __future__ import annotations

import logging
import time
from functools import partial
from typing import Protocol

from edge_node.link.channel import HubMessage, News
from edge_node.link.directory import HubDirectory
from shared.codec import decode, encode, split_session
from shared.errors import ProtocolError
from shared.malformed import MalformedFrames
from shared.messages import AnyMessage, Early, Fault, FaultCode, Open, Opened, Verdict
from shared.mqtt import MqttLink, Sent
from shared.pair import Pair
from shared.settings import BrokerSettings
from shared.topics import Topics, check_name

log = logging.getLogger(__name__)

_EXPIRY_S = 60


class Speaker(Protocol):
    """One conversation on the connection. All of this is called on the MQTT client's thread."""

    def take_opened(self, message: Opened | Fault) -> None:
        """A hub has answered an open of this node."""

    def take_verdict(self, message: HubMessage, size: int) -> bool:
        """A hub has said something in a session; whether it is this conversation's."""

    def tell(self, news: News) -> None:
        """Something may be done now that could not be done before."""


class NodeLink:
    """A connection to the broker in the name of one node. What a hub says goes to the conversation whose session it is."""

    def __init__(self, settings: BrokerSettings, name: str, pair: Pair) -> None:
        self.name = check_name(name, "node name")
        self._pair = pair
        self._tokenizer = pair.tokenizer_hash()
        self._topics = Topics(settings.prefix)
        self._malformed = MalformedFrames(log)
        self.directory = HubDirectory(self._topics, pair.name, self._tokenizer)
        self._speakers: tuple[Speaker, ...] = ()  # never changed, but replaced, since two threads use it
        self._link = MqttLink(settings, name)
        self._link.on_refused = lambda reason: log.info("the broker refused a publish: %s", reason)

    def connect(self, *, at_once: bool = True) -> None:
        """Connect to the broker and listen, `at_once` or as soon as there is one. Raises LinkError."""
        self._link.connect(at_once=at_once)
        for leaf in HubDirectory.LEAVES:
            self._link.subscribe(
                self._topics.hub("+", leaf),
                partial(self._note_hub, kept=False),
                kept=partial(self._note_hub, kept=True),
            )
        self._link.subscribe(self._topics.opened(self.name), self._on_opened)
        self._link.subscribe(self._topics.verdict("+", self.name), self._on_verdict)
        self._link.greet(lambda: self._tell(News.CONNECTED))

    def join(self, speaker: Speaker) -> None:
        """Let one more conversation use the connection."""
        self._speakers = (*self._speakers, speaker)

    def leave(self, speaker: Speaker) -> None:
        """One conversation does not use the connection any more."""
        self._speakers = tuple(each for each in self._speakers if each is not speaker)

    @property
    def trouble(self) -> str:
        """What is wrong with the way to the broker; nothing if all is well."""
        return self._link.trouble

    def send(self, hub: str, payload: bytes) -> Sent:
        """Publish a frame to a hub on the topic of this node's sessions with it."""
        return self._link.publish(self._topics.draft(hub, self.name), payload, expiry_s=_EXPIRY_S)

    def ask_for(self, hub: str, session: bytes, *, wants_bits: bool) -> Sent:
        """Ask a hub for a session."""
        request = encode(Open(session, self._pair.name, self._tokenizer, wants_bits))
        return self._link.publish(self._topics.open(hub, self.name), request, expiry_s=_EXPIRY_S)

    def close(self) -> None:
        """Disconnect, once the broker has what was sent."""
        self._link.close()

    def _note_hub(self, topic: str, payload: bytes, *, kept: bool) -> None:
        try:
            if self.directory.take_in(topic, payload, kept=kept):
                self._tell(News.HUB)
        except ProtocolError as error:
            self._malformed.note(topic, error)

    def _on_opened(self, topic: str, payload: bytes) -> None:
        message = self._decode(topic, payload)
        if isinstance(message, (Opened, Fault)):
            for speaker in self._speakers:
                speaker.take_opened(message)

    def _on_verdict(self, topic: str, payload: bytes) -> None:
        try:
            hub = self._topics.parties_of(topic).hub
            session, frame = split_session(payload)
        except ProtocolError as error:
            self._malformed.note(topic, error)
            return
        message = self._decode(topic, frame)
        if not isinstance(message, (Verdict, Early, Fault)):
            return
        arrival = HubMessage(session, message, time.monotonic())
        if any(speaker.take_verdict(arrival, len(payload)) for speaker in self._speakers):
            self.directory.hear(hub)
        if isinstance(message, Fault) and message.code is FaultCode.MOVED:
            self.directory.take_leave(hub)

    def _tell(self, news: News) -> None:
        for speaker in self._speakers:
            speaker.tell(news)

    def _decode(self, topic: str, payload: bytes) -> AnyMessage | None:
        try:
            return decode(payload)
        except ProtocolError as error:
            self._malformed.note(topic, error)
            return None
