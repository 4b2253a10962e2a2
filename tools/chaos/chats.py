"""What the nodes are asked, and which chat each is at work on: a chat that a killed node had is asked anew."""

from __future__ import annotations

import itertools
import json
import random
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO, Any

from tools.home.data.generate import exchange
from tools.home.data.invent import HELD_OUT
from tools.rig.chat import Chat

# temperature, top_k, top_p
_SAMPLINGS = ((0.0, 0, 1.0), (0.8, 0, 1.0), (0.8, 40, 0.9), (0.0, 40, 0.9))


def drawn(seed: int) -> Iterator[Chat]:
    """Chats without end, the same for a seed each time."""
    rng = random.Random(seed)
    for number in itertools.count():
        requests = tuple(exchange(rng, HELD_OUT).request for _ in range(rng.choice((1, 1, 2, 3))))
        yield Chat(number, requests, rng.choice(_SAMPLINGS), rng.getrandbits(64))


@dataclass
class Desk:
    """Hands chats out and takes reports in, for several workers' reading threads."""

    seed: int
    chats: dict[int, Chat] = field(default_factory=dict)
    reports: list[tuple[str, dict[str, Any]]] = field(default_factory=list)  # node, and what its worker said
    is_open: bool = True  # whether chats are handed out still

    def __post_init__(self) -> None:
        self._drawn = drawn(self.seed)
        self._lock = threading.Lock()
        self._at_work: dict[str, Chat] = {}

    @property
    def is_idle(self) -> bool:
        """Whether no worker has a chat."""
        return not self._at_work

    @property
    def at_work(self) -> dict[str, Chat]:
        """Which node has which chat."""
        return dict(self._at_work)

    def serve(self, node: str, asks: IO[bytes], says: IO[bytes]) -> None:
        """Talk to a worker until its pipe ends: first about the chat that it had when it was killed."""
        with self._lock:
            chat = self._at_work.get(node) or self._next(node)
        _hand(asks, chat)
        for line in says:
            report = json.loads(line)
            with self._lock:
                self.reports.append((node, report))
                if not (report.get("done") or "failed" in report):
                    continue
                del self._at_work[node]
                chat = self._next(node)
            _hand(asks, chat)

    def _next(self, node: str) -> Chat | None:
        if not self.is_open:
            return None
        chat = self._at_work[node] = next(self._drawn)
        self.chats[chat.number] = chat
        return chat


def _hand(asks: IO[bytes], chat: Chat | None) -> None:
    try:
        if chat is None:
            asks.close()  # nothing more comes: the worker ends
        else:
            asks.write(f"{chat.to_json()}\n".encode())
            asks.flush()
    except (BrokenPipeError, ValueError):
        pass  # it was killed; whoever is started in its place gets the chat
