"""One request to the service that runs on this device already: its pair, its draft and its session are warm."""

from __future__ import annotations

import json
import queue
import secrets
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

from edge_node.dialogue.generation import Generation
from edge_node.frontends.request import PROVISIONAL, tell_wait
from edge_node.service.requests import FORMAT, MAX_REQUEST
from edge_node.settings import NodeSettings
from shared.errors import HubSilent, LinkError, ProtocolError, SessionError
from shared.json_object import json_object
from shared.mqtt import NOT_SENT, MqttLink, Sent
from shared.streams import put, put_json
from shared.topics import Topics

_GONE_S = 15.0  # seconds for which a service may be away in the middle of an answer, as when systemd restarts it
_LOOK_S = 0.5


def ask_service(
    settings: NodeSettings, generation: Generation, system: str | None, request: str, *, as_json: bool
) -> bool:
    """Print what the service answers, as `ask` does; False where none can be reached that runs on this node with the same settings.

    Raises SledError; what was answered by then is printed all the same.
    """
    link = MqttLink(settings.broker, settings.name)
    try:
        link.connect()
    except LinkError:
        return False  # whoever answers without the service says why, or does without a broker
    try:
        asking = _Asking(link, settings)
        if not asking.serves(settings.fingerprint):
            return False
        options = {"system": system, **asdict(replace(generation, grammar=None)), "stop": list(generation.stop)}
        if generation.grammar is not None:
            options["schema"] = generation.grammar.read()["schema"]
        asked = {"text": request, **{key: value for key, value in options.items() if value not in (None, [])}}
        return asking.ask(asked, _Shown(as_json=as_json))
    finally:
        link.close()


class _Shown:
    """What stands in the terminal of an answer."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._text = ""

    def take(self, piece: dict[str, Any]) -> None:
        """A message of the answer's stream."""
        if "waits_for" in piece:
            tell_wait(piece["waits_for"])
        if not self._as_json:
            put(piece["text"])
            self._text += piece["text"]

    def finish(self, answer: dict[str, Any]) -> None:
        """The whole answer. Raises SessionError for one that broke off."""
        error = answer.get("error", "")
        if answer.get("finish") == "cancelled":
            error = "the answer was cancelled"
        if self._as_json:
            put_json(answer)
        else:
            provisional = answer.get("provisional", "")
            text = answer.get("text", "").removesuffix(provisional)
            # Pieces that were lost with a connection are in the whole.
            put(text.removeprefix(self._text) if text.startswith(self._text) else f"\n{text}")
            if provisional:
                put(f"{PROVISIONAL}{provisional}")
            if text or provisional or not error:
                put("\n")
        if error:
            raise SessionError(error)


class _Asking:
    def __init__(self, link: MqttLink, settings: NodeSettings) -> None:
        self._link, self._name = link, settings.name
        self._topics = Topics(settings.broker.prefix)
        self._arrivals: queue.SimpleQueue[tuple[str, dict[str, Any]]] = queue.SimpleQueue()
        self._status: dict[str, Any] = {}
        self._info: dict[str, Any] = {}
        self._gone_at: float | None = None  # when the service was there last, if it is gone
        self._send: Callable[[], Sent] = lambda: NOT_SENT  # sends the request, as soon as there is one

    def serves(self, fingerprint: str) -> bool:
        """Whether a service runs in this node's name that answers as this program would."""
        for leaf in ("status", "info"):
            self._link.subscribe(self._topics.node(self._name, leaf), self._note)
        self._link.flush()  # the broker's word on this comes behind what it has kept
        told = self._info.get("format"), self._info.get("settings")
        return self._status.get("online") is True and told == (FORMAT, fingerprint)

    def ask(self, asked: dict[str, Any], shown: _Shown) -> bool:
        """Have a request answered; False where the broker does not let this node ask its own service."""
        answer = self._topics.node(self._name, "answer", self._name)
        stream = self._topics.stream(answer)
        request = {"id": secrets.token_hex(8), **asked}
        message = json.dumps(request, ensure_ascii=False).encode()
        if len(message) > MAX_REQUEST:
            return False
        self._link.on_refused = lambda _: None  # is looked at below
        for topic in (answer, stream):
            self._link.subscribe(topic, self._note, retained=False)
        ask = self._topics.node(self._name, "ask", self._name)
        self._send = lambda: self._link.publish(ask, message)
        sent = self._send()
        heard = False
        try:
            while True:
                topic, content = self._next()
                if not topic and not heard and sent.is_answered and not sent.was_read:
                    return False  # it may not ask, or nobody is there whatever the broker has kept
                if content.get("id") != request["id"]:
                    continue
                if topic == answer:
                    shown.finish(content)
                    return True
                heard = True
                shown.take(content)
        except KeyboardInterrupt:
            cancel = self._topics.node(self._name, "cancel", self._name)
            self._link.publish(cancel, json.dumps({"id": request["id"]}))
            raise

    def _next(self) -> tuple[str, dict[str, Any]]:
        """What comes next; nothing where that takes a while. Raises HubSilent where the service is gone."""
        try:
            return self._arrivals.get(timeout=_LOOK_S)
        except queue.Empty:
            pass
        if self._status.get("online") is True:
            self._gone_at = None
        elif self._gone_at is None:
            self._gone_at = time.monotonic()
        elif time.monotonic() - self._gone_at > _GONE_S:
            raise HubSilent(f"`sled-node run` of {self._name!r} has ended in the middle of the answer; ask again")
        return "", {}

    def _note(self, topic: str, payload: bytes) -> None:
        try:
            content = json_object(payload, "what a service tells")
        except ProtocolError:
            return
        if topic.endswith("/status"):
            self._status = content
            self._send()  # it may not have been there before; it knows the id, and answers once
        elif topic.endswith("/info"):
            self._info = content
        else:
            self._arrivals.put((topic, content))
