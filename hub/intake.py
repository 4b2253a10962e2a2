"""What arrives for the hub: bounded and queued on the MQTT client's thread, read on the engine's when its node's turn comes."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import partial

from hub.engine.inbox import Arrival, Request
from hub.sessions.session import Limits, SessionKey, too_long
from shared.codec import decode, draft_round, largest_frame
from shared.errors import ProtocolError
from shared.messages import MAX_DRAFT, Close, Draft, Fault, Open
from shared.topics import SessionTopic, Topics

log = logging.getLogger(__name__)

_REPORT_EVERY_S = 60.0  # seconds between two lines of the log about malformed frames


class Intake:
    """The handlers of the hub's two subscriptions."""

    def __init__(
        self,
        topics: Topics,
        limits: Limits,
        submit: Callable[[Arrival], None],
        has_room: Callable[[str, int], bool],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`submit` queues a message for the engine; `has_room` says whether one of a node, of so many bytes, has a place."""
        self.refused = 0  # messages of nodes that have so many waiting that no more are read
        self.malformed = 0  # frames that could not be read, or do not belong on their topic
        self._topics = topics
        self._limits = limits
        self._submit = submit
        self._has_room = has_room
        self._prefix = topics.prefix.encode() + b"/"
        self._clock = clock
        self._largest_open = largest_frame(0)
        self._largest_draft = largest_frame(limits.context + MAX_DRAFT)
        self._reported_at = -_REPORT_EVERY_S
        self._unreported = 0

    def admits(self, topic: bytes, size: int) -> bool:
        """Whether a message is to be read at all: the gate of the MQTT client."""
        levels = topic[len(self._prefix) :].split(b"/")
        speaks_of = {4: 3, 5: 2}.get(len(levels))  # hub/HUB/open/NODE, session/HUB/NODE/SESSION/draft
        if speaks_of is None or self._has_room(levels[speaks_of].decode("ascii", "replace"), size):
            return True
        self.refused += 1
        return False

    def on_open(self, topic: str, payload: bytes) -> None:
        """Queue an `Open`."""
        try:
            node = self._topics.opener_of(topic)
            if len(payload) > self._largest_open:
                raise ProtocolError(f"{len(payload)} bytes are too many to open a session")
        except ProtocolError as error:
            self._count_malformed(topic, error)
            return
        self._queue(node, topic, payload, partial(self._read_open, node, payload))

    def on_draft(self, topic: str, payload: bytes) -> None:
        """Queue a `Draft` or a `Close`.

        A draft that no context could hold is refused before it waits: thousands of such drafts would be gigabytes.
        """
        try:
            parties = self._topics.session_of(topic)
            if len(payload) > self._largest_draft:
                payload = bytes(payload[: self._largest_open])
                read = partial(self._read_too_long, parties, draft_round(payload))
            else:
                read = partial(self._read_draft, parties, payload)
        except ProtocolError as error:
            self._count_malformed(topic, error)
            return
        self._queue(parties.node, topic, payload, read)

    def _queue(self, node: str, topic: str, payload: bytes, read: Callable[[], Request]) -> None:
        def guarded() -> Request | None:
            try:
                return read()
            except ProtocolError as error:
                self._count_malformed(topic, error)
                return None

        self._submit(Arrival(node, len(payload), self._clock(), guarded))

    def _read_open(self, node: str, payload: bytes) -> Request:
        message = decode(payload, Open)
        assert isinstance(message, Open)
        return Request(SessionKey(node, message.session), message)

    def _read_draft(self, parties: SessionTopic, payload: bytes) -> Request:
        message = decode(payload, Draft, Close)
        assert isinstance(message, (Draft, Close))
        answer: Draft | Close | Fault = message
        if isinstance(message, Draft) and len(message.append) > self._limits.context:
            answer = too_long(message.round, len(message.append), self._limits)
        return Request(SessionKey(parties.node, parties.session), answer)

    def _read_too_long(self, parties: SessionTopic, number: int) -> Request:
        return Request(
            SessionKey(parties.node, parties.session), too_long(number, self._limits.context + 1, self._limits)
        )

    def _count_malformed(self, topic: str, error: ProtocolError) -> None:
        """Count a frame; the log has a line about the first one, and then about all that came within a minute.

        Both threads come here. Where they do so at once a frame may go uncounted, which is less bad than a lock for each.
        """
        self.malformed += 1
        self._unreported += 1
        now = self._clock()
        if now - self._reported_at >= _REPORT_EVERY_S:
            count, self._unreported, self._reported_at = self._unreported, 0, now
            log.warning("malformed frames: %d more, the last on %s: %s", count, topic[:200], str(error)[:200])
