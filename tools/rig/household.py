"""What talks with a node's service over MQTT as a program in a house does: it asks, waits for answers, and carries calls out once."""

from __future__ import annotations

import json
import queue
import secrets
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from shared.mqtt import MqttLink
from shared.settings import BrokerSettings
from shared.topics import Topics
from tools.demo import node_command
from tools.rig.process import started

_READY_S = 30.0


@dataclass
class Told:
    """What came about one request."""

    asked_at: float
    stream: list[dict[str, Any]] = field(default_factory=list)
    first_at: float = 0.0  # of the stream
    answers: list[dict[str, Any]] = field(default_factory=list)
    calls: list[dict[str, Any]] = field(default_factory=list)  # as often as they came


class Household:
    """A user of the broker in the role of a home."""

    def __init__(self, broker: BrokerSettings, user: str, node: str) -> None:
        self._link = MqttLink(broker, user)
        self._topics, self._node = Topics(broker.prefix), node
        self.told: dict[str, Told] = {}
        self.status: dict[str, Any] = {}
        self.stats: dict[str, Any] = {}
        self._news: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._open: dict[str, str] = {}  # requests that wait for an answer, by id
        self._link.connect()
        for leaf in ("status", "stats"):
            self._link.subscribe(self._topic(leaf), self._note_state)
        self._link.subscribe(self._topic("answer"), self._note_answer, retained=False)
        self._link.subscribe(self._topics.stream(self._topic("answer")), self._note_piece, retained=False)
        self._link.subscribe(self._topic("call"), self._note_call, retained=False)

    def ask(self, text: str, request_id: str = "", **fields: Any) -> str:
        """Ask; the id of the request. It is repeated whenever the node says that it is there, until it is answered."""
        request_id = request_id or secrets.token_hex(8)
        self.told.setdefault(request_id, Told(time.monotonic()))
        self._open[request_id] = json.dumps({"text": text, "id": request_id, **fields})
        self._link.publish(self._topic("ask"), self._open[request_id])
        return request_id

    def send(self, leaf: str, payload: bytes | str) -> None:
        """Publish what may be anything."""
        self._link.publish(self._topic(leaf), payload)

    def answer(self, request_id: str, timeout_s: float = 60.0) -> dict[str, Any]:
        """The answer to a request. Raises TimeoutError."""
        deadline = time.monotonic() + timeout_s
        while not (told := self.told[request_id]).answers:
            try:
                self._news.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                raise TimeoutError(f"no answer to {request_id}") from None
        return told.answers[0]

    def close(self) -> None:
        """Leave the broker."""
        self._link.close()

    def _ask_again(self) -> None:
        for request in list(self._open.values()):
            self._link.publish(self._topic("ask"), request)

    def _note_state(self, topic: str, payload: bytes) -> None:
        setattr(self, topic.rpartition("/")[2], json.loads(payload))
        if topic == self._topic("status"):
            self._ask_again()  # what the node had not subscribed to yet is lost

    def _note_piece(self, _: str, payload: bytes) -> None:
        told, content = self._of(json.loads(payload), "id")
        told.first_at = told.first_at or time.monotonic()
        told.stream.append(content)

    def _note_call(self, _: str, payload: bytes) -> None:
        told, content = self._of(json.loads(payload), "answer")
        told.calls.append(content)

    def _note_answer(self, _: str, payload: bytes) -> None:
        told, content = self._of(json.loads(payload), "id")
        told.answers.append(content)
        self._open.pop(content["id"], None)
        self._news.put(content["id"])

    def _of(self, content: dict[str, Any], key: str) -> tuple[Told, dict[str, Any]]:
        return self.told.setdefault(content[key], Told(time.monotonic())), content

    def _topic(self, leaf: str) -> str:
        return self._topics.node(self._node, leaf)


@contextmanager
def running_service(
    broker: BrokerSettings, node: str, log: Path, options: Sequence[str] = ()
) -> Iterator[subprocess.Popen[bytes]]:
    """`sled-node run` as a process that answers already. Raises RuntimeError when it ends or takes too long."""
    with started(node_command(broker, node, "run", *options), log) as process:
        deadline = time.monotonic() + _READY_S
        while "answers on" not in log.read_text(errors="replace"):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the service did not start:\n{log.read_text(errors='replace')}")
            time.sleep(0.01)
        yield process
