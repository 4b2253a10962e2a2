"""What arrives for the hub: bounded and queued on the MQTT client's thread, read on the engine's when its node's turn comes."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import Protocol

from hub.engine.inbox import Arrival, Request
from hub.engine.turns import Turns
from hub.sessions.session import Limits, SessionKey, too_long
from shared.codec import decode, draft_round, largest_frame, split_session
from shared.errors import ProtocolError
from shared.limits import MAX_DRAFT, MAX_PACKED_GRAMMAR
from shared.malformed import MalformedFrames
from shared.messages import Close, Draft, Fault, Open
from shared.topics import Topics

log = logging.getLogger(__name__)


class Reader(Protocol):
    """What reads the messages: the engine."""

    turns: Turns

    def submit(self, arrival: Arrival) -> None:
        """Queue a message."""

    def has_room(self, node: str, size: int) -> bool:
        """Whether a message of the node, of so many bytes, has a place."""


class Intake:
    """The handlers of the hub's two subscriptions, and the gate before them."""

    def __init__(
        self,
        topics: Topics,
        limits: Limits,
        reader: Reader,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.refused = 0  # messages of nodes that have so many waiting that no more are read
        self._malformed = MalformedFrames(log, clock)
        self._topics = topics
        self._limits = limits
        self._reader = reader
        self._prefix = topics.prefix.encode() + b"/"
        self._clock = clock
        self._largest_open = largest_frame(0)
        self._largest_draft = largest_frame(limits.context + MAX_DRAFT) + MAX_PACKED_GRAMMAR

    @property
    def malformed(self) -> int:
        """Frames that could not be read, or do not belong on their topic."""
        return self._malformed.count

    def admits(self, topic: bytes, size: int) -> bool:
        """See `Gate`."""
        levels = topic[len(self._prefix) :].split(b"/")
        # hub/HUB/open/NODE, session/HUB/NODE/draft
        speaks_of = {b"hub": 3, b"session": 2}.get(levels[0]) if len(levels) == 4 else None
        if speaks_of is None or self._reader.has_room(levels[speaks_of].decode("ascii", "replace"), size):
            return True
        self.refused += 1
        return False

    def turn(self) -> AbstractContextManager[None]:
        """See `Gate`."""
        return self._reader.turns.reading()

    def on_open(self, topic: str, payload: bytes) -> None:
        """Queue an `Open`."""
        try:
            node = self._topics.opener_of(topic)
            if len(payload) > self._largest_open:
                raise ProtocolError(f"{len(payload)} bytes are too many to open a session")
        except ProtocolError as error:
            self._malformed.note(topic, error)
            return
        self._queue(node, topic, payload, partial(self._read_open, node, payload))

    def on_draft(self, topic: str, payload: bytes) -> None:
        """Queue a `Draft` or a `Close`.

        A draft that no context could hold is refused before it waits: thousands of such drafts would be gigabytes.
        """
        try:
            node = self._topics.parties_of(topic).node
            session, frame = split_session(payload)
            key = SessionKey(node, session)
            if len(frame) > self._largest_draft:
                payload = frame = frame[: self._largest_open]
                read = partial(self._read_too_long, key, draft_round(frame))
            else:
                read = partial(self._read_draft, key, frame)
        except ProtocolError as error:
            self._malformed.note(topic, error)
            return
        self._queue(node, topic, payload, read)

    def _queue(self, node: str, topic: str, payload: bytes, read: Callable[[], Request]) -> None:
        def guarded() -> Request | None:
            try:
                return read()
            except ProtocolError as error:
                self._malformed.note(topic, error)
                return None

        self._reader.submit(Arrival(node, len(payload), self._clock(), guarded))

    def _read_open(self, node: str, payload: bytes) -> Request:
        message = decode(payload, Open)
        assert isinstance(message, Open)
        return Request(SessionKey(node, message.session), message)

    def _read_draft(self, key: SessionKey, frame: bytes) -> Request:
        message = decode(frame, Draft, Close)
        assert isinstance(message, (Draft, Close))
        answer: Draft | Close | Fault = message
        if isinstance(message, Draft) and len(message.append) > self._limits.context:
            answer = too_long(message.round, len(message.append), self._limits)
        return Request(key, answer)

    def _read_too_long(self, key: SessionKey, number: int) -> Request:
        return Request(key, too_long(number, self._limits.context + 1, self._limits))
