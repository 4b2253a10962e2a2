"""Nodes asked over MQTT, in the name of a home: a request goes out, and what comes of it is handed to who waits for it."""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
import time
from collections.abc import AsyncGenerator
from typing import Any

from hub.fleet.settings import FleetSettings
from hub.ui.answers import answer, piece
from shared.errors import LinkError, ProtocolError
from shared.json_object import json_object
from shared.malformed import MalformedFrames
from shared.mqtt import NOT_SENT, MqttLink
from shared.topics import Topics

log = logging.getLogger(__name__)

_MOST_WAITING = 1_000  # messages about one request that wait for a browser; the answer has all that more would tell
_LOOK_S = 0.5
_SILENT_S = 90.0  # seconds without a word after which nothing more is expected
_MOST_ASKED = 8  # requests at once


class TooManyRequests(Exception):
    """As many are answered as may be."""


class _Asked:
    """A request under way. What comes of it is put in by the MQTT client's thread, and taken out on the server's."""

    def __init__(self, node: str) -> None:
        self.node = node
        self._loop = asyncio.get_running_loop()
        self._waiting: asyncio.Queue[dict[str, object]] = asyncio.Queue()

    def put(self, told: dict[str, object]) -> None:
        """From any thread."""
        if "answer" in told or self._waiting.qsize() < _MOST_WAITING:
            self._loop.call_soon_threadsafe(self._waiting.put_nowait, told)

    async def next(self) -> dict[str, object] | None:
        """What has come; None where nothing does for a while."""
        try:
            return await asyncio.wait_for(self._waiting.get(), _LOOK_S)
        except (TimeoutError, asyncio.TimeoutError):
            return None


class Asking:
    """A connection of its own: answers may be larger than anything that the fleet's says of itself."""

    def __init__(self, settings: FleetSettings) -> None:
        self._topics = Topics(settings.broker.prefix)
        self._link = MqttLink(settings.broker, settings.name)
        self._link.on_refused = lambda _: None  # is looked at where something was asked
        self._malformed = MalformedFrames(log)
        self._asked: dict[str, _Asked] = {}
        self._ends = False

    def begin(self) -> None:
        """Connect. Raises LinkError."""
        self._link.connect()
        answers = self._topics.node("+", "answer")
        self._link.subscribe(answers, self._note_answer, retained=False)
        self._link.subscribe(self._topics.stream(answers), self._note_piece, retained=False)

    def end(self) -> None:
        """Have who waits for an answer wait no more, from any thread."""
        self._ends = True

    def close(self) -> None:
        """Leave the broker."""
        self._link.close()

    @property
    def under_way(self) -> int:
        """Requests that wait for their answers."""
        return len(self._asked)

    async def ask(self, node: str, text: str, chat: str) -> AsyncGenerator[dict[str, object], None]:
        """What comes of a request: pieces of its text, and at last `answer` or `error`. Who leaves before that cancels it.

        Raises TooManyRequests.
        """
        if len(self._asked) >= _MOST_ASKED:
            raise TooManyRequests
        request_id, asked, is_answered = secrets.token_hex(8), _Asked(node), False
        self._asked[request_id] = asked
        try:
            async for told in self._told(asked, {"id": request_id, "text": text, "chat": chat}):
                is_answered = "answer" in told
                yield told
        finally:
            del self._asked[request_id]
            if not is_answered:
                self._cancel(node, request_id)

    async def _told(self, asked: _Asked, request: dict[str, str]) -> AsyncGenerator[dict[str, object], None]:
        sent = NOT_SENT
        try:
            sent = self._link.publish(self._topics.node(asked.node, "ask"), json.dumps(request, ensure_ascii=False))
        except LinkError as error:
            yield {"error": str(error)}
            return
        yield piece({})  # so that a browser is told something, and it is seen if it leaves
        heard_at, was_heard = time.monotonic(), False
        while not self._ends:
            told = await asked.next()
            if told is not None:
                heard_at, was_heard = time.monotonic(), True
                yield told
                if "answer" in told:
                    return
            elif not was_heard and sent.is_answered and not sent.was_read:
                yield {"error": _unread(asked.node, sent.refusal)}
                return
            elif time.monotonic() > heard_at + _SILENT_S:
                yield {
                    "error": f"{asked.node!r} has said nothing for {_SILENT_S:.0f} s; look whether it lives, and ask again"
                }
                return
        yield {"error": "the page's server is ending"}

    def _cancel(self, node: str, request_id: str) -> None:
        try:
            self._link.publish(self._topics.node(node, "cancel"), json.dumps({"id": request_id}))
        except LinkError as error:
            log.warning("%s", error)

    # On the MQTT client's thread

    def _note_answer(self, topic: str, payload: bytes) -> None:
        found = self._found(topic, payload)
        if found is not None:
            found[0].put({"answer": answer(found[1])})

    def _note_piece(self, topic: str, payload: bytes) -> None:
        found = self._found(topic.rpartition("/")[0], payload)
        if found is not None:
            found[0].put(piece(found[1]))

    def _found(self, topic: str, payload: bytes) -> tuple[_Asked, dict[str, Any]] | None:
        """The request that a message of its node is about, and what it says; None for what others have asked."""
        if not self._asked:
            return None
        try:
            node, message = self._topics.node_of(topic), json_object(payload, "an answer")
        except ProtocolError as error:
            self._malformed.note(topic, error)
            return None
        asked = self._asked.get(str(message.get("id")))
        return (asked, message) if asked is not None and asked.node == node else None


def _unread(node: str, refusal: str) -> str:
    if refusal:
        return (
            "the broker does not let this page ask nodes: give it a home's credential, which `sudo sled-hub enroll NAME "
            "--role home` makes on the broker's machine"
        )
    return f"nobody hears what is asked of {node!r}: it does not run as a service, or is not connected"
