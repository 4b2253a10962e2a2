"""The nodes of a soak: processes that hold the same chats again and again, and whether each answer is the first one again."""

from __future__ import annotations

import json
import os
import random
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from tools.home.data.generate import exchange
from tools.home.data.invent import HELD_OUT
from tools.rig.chat import Chat
from tools.rig.killable import Killable
from tools.rig.node_file import write_node_file
from tools.rig.testbed import HubBed

# How each node decodes.
WAYS: Mapping[str, Mapping[str, str]] = {"node": {}, "streaming-node": {"mode": "stream"}}
# Requests of a chat, in turn; of twelve the chat template keeps the last four.
_TURNS = (1, 3, 1, 2, 1, 12)
# Temperature, top_k, top_p, in turn.
_SAMPLINGS = ((0.0, 0, 1.0), (0.8, 40, 0.9), (0.0, 0, 1.0), (2.0, 0, 1.0), (0.8, 0, 1.0))
_SEED = 1


@dataclass
class Tally:
    """What came since the tally was taken last."""

    answers_ms: list[float] = field(default_factory=list)
    compared: int = 0
    wrong: int = 0
    failed: int = 0
    chatted: set[str] = field(default_factory=set)
    """Nodes that have come to the end of a chat."""


class Ledger:
    """Told by each node's reading thread what its process says."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._first: dict[tuple[int, int], list[int]] = {}  # ids of the first answer, by chat and turn
        self._tally = Tally()

    def take(self) -> Tally:
        """What came since the last call."""
        with self._lock:
            taken, self._tally = self._tally, Tally()
        return taken

    def enter(self, node: str, report: Mapping[str, Any]) -> bool:
        """Note a report of tools/rig/worker.py; whether it ends its chat."""
        with self._lock:
            if report.get("done"):
                self._tally.chatted.add(node)
                return True
            if "failed" in report:
                self._tally.failed += 1
                return True
            self._tally.answers_ms.append(round(1e3 * (report["ended"] - report["began"]), 1))
            key = report["chat"], report["turn"]
            self._tally.compared += key in self._first
            self._tally.wrong += self._first.setdefault(key, report["ids"]) != report["ids"]
        return False


def chats(count: int) -> list[Chat]:
    """So many different chats, the same each time."""
    rng = random.Random(_SEED)
    return [
        Chat(
            number,
            tuple(exchange(rng, HELD_OUT).request for _ in range(_TURNS[number % len(_TURNS)])),
            _SAMPLINGS[number % len(_SAMPLINGS)],
            rng.getrandbits(64),
        )
        for number in range(count)
    ]


@contextmanager
def asking(
    bed: HubBed, held: Sequence[Chat], pause_s: float, ledger: Ledger, folder: Path
) -> Iterator[dict[str, Killable]]:
    """Have processes hold the chats in turn, each from another one on, until the context ends; their files are in `folder`."""
    environment = {**os.environ, "XDG_CACHE_HOME": str(folder / "cache"), "OMP_NUM_THREADS": "1"}
    nodes: dict[str, Killable] = {}
    readers: list[threading.Thread] = []
    try:
        for number, (name, way) in enumerate(WAYS.items()):
            file = folder / f"{name}.toml"
            write_node_file(file, name, bed.broker.settings(name), wait_s=30.0, **way)
            command = [sys.executable, "-m", "tools.rig.worker", str(file), "--pause", str(pause_s)]
            node = nodes[name] = Killable(command, folder / f"{name}.log", pipes=True, environment=environment)
            node.start()
            start = number * len(held) // len(WAYS)
            order = [*held[start:], *held[:start]]
            readers.append(threading.Thread(target=_serve, args=(name, order, ledger, *node.pipes), daemon=True))
            readers[-1].start()
        yield nodes
    finally:
        for node in nodes.values():
            node.end()
        for reader in readers:
            reader.join()


def _serve(node: str, order: Sequence[Chat], ledger: Ledger, asks: IO[bytes], says: IO[bytes]) -> None:
    """Hand out one chat after the other until the process ends."""
    number = 0
    with suppress(BrokenPipeError), asks, says:
        _hand(asks, order[0])
        for line in says:
            if ledger.enter(node, json.loads(line)):
                number += 1
                _hand(asks, order[number % len(order)])


def _hand(asks: IO[bytes], chat: Chat) -> None:
    asks.write(f"{chat.to_json()}\n".encode())
    asks.flush()
