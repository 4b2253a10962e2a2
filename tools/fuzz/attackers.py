"""Who sends: a node that speaks to the hub, and a hub's credential that speaks to the nodes, each wherever it may."""

from __future__ import annotations

import json
import random
import secrets
from collections import Counter, deque
from collections.abc import Sequence
from typing import Any

from shared.codec import decode, encode, split_session
from shared.errors import ProtocolError
from shared.messages import Fault, Opened
from shared.mqtt import MqttLink
from shared.settings import BrokerSettings
from shared.topics import Topics
from tools.fuzz.frames import Frames, costly, mutate, size
from tools.fuzz.sender import Sender

_KNOWN = 32  # sessions that the hub has opened for the node, and that it writes to
_RETAINED = 0.01  # share of messages that ask the broker to keep them


class HostileNode:
    """Opens, drafts and closes as node `name`, and counts the faults that it is answered with."""

    def __init__(self, settings: BrokerSettings, name: str, hub: str, frames: Frames, rng: random.Random) -> None:
        self.faults: Counter[str] = Counter()
        self.sender = Sender(settings)
        self._name, self._hub, self._frames, self._rng = name, hub, frames, rng
        self._topics = Topics()
        self._sessions: deque[bytes] = deque([secrets.token_bytes(16)], _KNOWN)
        self._listener = MqttLink(settings, name)
        self._listener.connect()
        self._listener.subscribe(self._topics.opened(name), self._on_answer)
        self._listener.subscribe(self._topics.verdict("+", name), self._on_answer)

    def send(self) -> None:
        """Publish one message."""
        frames, rng = self._frames, self._rng
        match rng.choices(("open", "draft", "fetch", "real open", "echo", "flush"), (25, 50, 10, 5, 5, 5))[0]:
            case "open":
                topic, payload = self._topics.open(self._hub, self._name), frames.of((frames.open,))
            case "draft":
                topic = self._topics.draft(self._hub, self._name)
                payload = self._session() + frames.of((frames.draft, frames.draft, frames.close))
            case "fetch":
                topic, payload = self._topics.fetch(self._hub, self._name), frames.of((frames.fetch,))
            case "real open":
                topic, payload = self._topics.open(self._hub, self._name), encode(frames.open())
            case "echo":
                topic, payload = self._topics.echo(self._name, "there"), frames.of((frames.draft,))
            case _:
                topic, payload = f"{self._topics.prefix}/flush", frames.of((frames.close,))
        self.sender.send(topic, payload, retain=rng.random() < _RETAINED)

    def close(self) -> None:
        """Leave."""
        self.sender.close()
        self._listener.close()

    def _session(self) -> bytes:
        odd = (bytes(16), b"\xff" * 16, b"x", b"-" * 3000, b"", secrets.token_bytes(16))
        return self._rng.choice(tuple(self._sessions) if self._rng.random() < 0.7 else odd)

    def _on_answer(self, topic: str, payload: bytes) -> None:
        try:
            message = decode(payload if topic == self._topics.opened(self._name) else split_session(payload)[1])
        except ProtocolError:
            return
        if isinstance(message, Opened):
            self._sessions.append(message.session)
        elif isinstance(message, Fault):
            self.faults[message.code.name.lower()] += 1


class HostileHub:
    """Answers that nobody asked for, and states of a hub that nobody can use."""

    def __init__(
        self, settings: BrokerSettings, name: str, nodes: Sequence[str], frames: Frames, rng: random.Random
    ) -> None:
        self.sender = Sender(settings)
        self._name, self._nodes, self._frames, self._rng = name, nodes, frames, rng
        self._topics = Topics()

    def send(self) -> None:
        """Publish one message."""
        frames, rng = self._frames, self._rng
        node = rng.choice(self._nodes)
        match rng.choices(("opened", "verdict", "piece", "state"), (35, 50, 5, 10))[0]:
            case "opened":
                topic, payload = self._topics.opened(node), frames.of((frames.opened, frames.fault))
            case "verdict":
                session = rng.choice((secrets.token_bytes(16), bytes(16), b"x" * 5, b"x" * 500))
                topic = self._topics.verdict(self._name, node)
                payload = session + frames.of((frames.verdict, frames.early, frames.fault))
            case "piece":
                topic, payload = self._topics.piece(self._name, node), frames.of((frames.piece, frames.fault))
            case _:
                leaf = rng.choice(("status", "info", "stats", "offer"))
                topic, payload = self._topics.hub(self._name, leaf), self._state()
        self.sender.send(topic, payload, retain=rng.random() < _RETAINED)

    def close(self) -> None:
        """Leave."""
        self.sender.close()

    def _state(self) -> bytes:
        """A hub's state in JSON, or nearly so. It never names the tokenizer of the pair: nodes believe a hub that does."""
        rng = self._rng
        states: tuple[Any, ...] = (
            {"online": True}, {"online": "yes"}, {"sessions": -1}, {"sessions": 10**400}, {"pair": "home", "tokenizer": "00"}, [], None, "x",
            {"pair": ["home"], "tokenizer": {}, "target": None, "context": 1e400}, {"online": float("nan")}, {"\u202e" * 50: 1},
        )  # fmt: skip
        data = bytearray(json.dumps(rng.choice(states)).encode())
        match rng.randrange(4):
            case 0:
                return bytes(data)
            case 1:
                return b"[" * size(rng)
            case 2:
                return costly(rng, size(rng))
            case _:
                mutate(data, rng)
                return bytes(data)
