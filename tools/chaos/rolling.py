"""Hubs restarted one after the other while conversations ask: what is lost by it, and how their sessions spread afterwards."""

from __future__ import annotations

import os
import random
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Any

import torch
from rich.progress import Progress

from edge_node.assembly import Node
from edge_node.dialogue.answer import Answer
from edge_node.dialogue.conversation import Conversation
from edge_node.dialogue.generation import Generation
from edge_node.dialogue.tokenizer import ChatTokenizer, Turn
from edge_node.link.node_link import NodeLink
from edge_node.settings import Mode, NodeSettings
from shared.pair import load_pair
from tools.chaos.chats import drawn
from tools.demo import hub_command
from tools.rig.broker import PrivateBroker, private_broker
from tools.rig.chat import Chat
from tools.rig.killable import Killable
from tools.rig.oracle import Oracle, Rule

_PAIR = "home"
_HUBS = ("hub-0", "hub-1")
_NODES = ("node-0", "node-1", "node-2", "node-3")
_OBSERVER = "observer"
_MODES = (Mode.AUTO, Mode.STREAM)  # of the nodes, in turn
_MAX_TOKENS = 96
_PAUSE_S = 2.0  # mean seconds between two answers of a conversation
_START_S = 120.0
_LOOK_S = 0.5  # seconds between two looks at the hubs' sessions
_HOLD_S = 5.0  # seconds for which sessions that are even are looked at
EVEN = 0.2  # of the mean, by which a hub may have more or fewer sessions


@dataclass(frozen=True)
class _Said:
    """An answer, or why there is none."""

    chat: Chat
    ids: tuple[int, ...]
    pause_s: float  # the longest time without a piece of it
    moved: bool  # whether it went on at another hub
    failed: str


@dataclass
class _Crowd:
    """Conversations that ask without end, on threads; each keeps its session from chat to chat, as those of a service do."""

    said: list[_Said] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []

    def join(self, conversation: Conversation, chats: Iterator[Chat], seed: int) -> None:
        """Let one more conversation ask."""
        work = threading.Thread(target=self._ask, args=(conversation, chats, random.Random(seed)))
        self._threads.append(work)
        work.start()

    def close(self) -> None:
        """Let every conversation end its answer."""
        self.over.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, conversation: Conversation, chats: Iterator[Chat], rng: random.Random) -> None:
        while not self.over.wait(rng.expovariate(1 / _PAUSE_S)):
            with self._lock:
                chat = next(chats)
            self.said.append(_answer(conversation, chat))


def _answer(conversation: Conversation, chat: Chat) -> _Said:
    """The answer to the chat's first request."""
    conversation.resume(None, (), ())
    temperature, top_k, top_p = chat.sampling
    generation = Generation(temperature, top_k, top_p, chat.seed, _MAX_TOKENS)
    answer, longest_s, last = Answer(), 0.0, time.monotonic()
    failed = ""
    try:
        for _ in conversation.ask(chat.requests[0], generation, answer):
            now = time.monotonic()
            longest_s, last = max(longest_s, now - last), now
    except Exception as error:  # whatever it is, it has lost an answer
        failed = f"chat {chat.number}: {type(error).__name__}: {error}"
    return _Said(chat, tuple(answer.ids), longest_s, answer.stats.reopened > 0, failed)


class _House:
    """A broker and its hubs, as processes."""

    def __init__(self, broker: PrivateBroker, folder: Path) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        options = ("--threads", "1", "--kv-memory", "64M", "--cache", str(folder / "cache"))
        self._hubs = {
            hub: Killable(
                hub_command(broker.settings(hub), hub, *options), folder / f"{hub}.log", environment=environment
            )
            for hub in _HUBS
        }
        self._observer = NodeLink(broker.settings(_OBSERVER), _OBSERVER, load_pair(_PAIR))
        self._observer.connect()

    def start(self, hub: str) -> None:
        """Start a hub and wait until it is online. Raises RuntimeError where it does not come."""
        self._hubs[hub].start()
        deadline = time.monotonic() + _START_S
        while not self._observer.directory.seen(hub).online:
            if not self._hubs[hub].runs or time.monotonic() > deadline:
                raise RuntimeError(f"{hub} does not start: {self._hubs[hub].last_words()}")
            time.sleep(0.05)

    def end(self, hub: str) -> None:
        """Ask a hub to end, as systemd does, and wait until it has."""
        self._hubs[hub].end()

    def sessions(self) -> dict[str, int]:
        """How many sessions each hub has, as it said last."""
        return {hub: int(self._observer.directory.seen(hub).load) for hub in _HUBS}

    def close(self) -> None:
        """End everybody."""
        self._observer.close()
        for hub in self._hubs.values():
            hub.end()


def uneven(sessions: Sequence[int]) -> float:
    """By what share of the mean the hub that is furthest from it has more or fewer sessions."""
    mean = sum(sessions) / len(sessions)
    return max(abs(each - mean) for each in sessions) / mean if mean else 0.0


@dataclass(frozen=True)
class _Restart:
    """How the sessions spread behind a restart."""

    even_s: float | None  # seconds from when the hub was online again until they were even; None: they never were
    spread: float  # mean unevenness from then on, else all the time
    sessions: dict[str, int]  # at the end


@dataclass
class Rolled:
    """Figures, and a sentence for each answer that was lost or is wrong."""

    figures: dict[str, Any]
    complaints: list[str]

    @property
    def failed(self) -> bool:
        """Whether anything went wrong that must not."""
        return bool(
            self.figures["lost_answers"] or self.figures["mismatched_tokens"] or self.figures["uneven_restarts"]
        )


def roll(restarts: int, sessions: int, settle_s: float, seed: int, bars: Progress) -> Rolled:
    """Restart the hubs in turn, `restarts` times in all, with at most `settle_s` seconds behind each for sessions to spread. Raises RuntimeError where a hub does not start."""
    with tempfile.TemporaryDirectory(prefix="sled-rolling-") as folder, _house(Path(folder)) as (house, nodes):
        crowd, chats, began = _Crowd(), drawn(seed), time.monotonic()
        try:
            for number in range(sessions):
                crowd.join(nodes[number % len(nodes)].conversation(), chats, seed + number)
            bar = bars.add_task("restarting", total=restarts)
            while sum(house.sessions().values()) < sessions and time.monotonic() < began + _START_S:
                time.sleep(_LOOK_S)
            seen = []
            for number in range(restarts):
                hub = _HUBS[number % len(_HUBS)]
                house.end(hub)
                house.start(hub)
                seen.append(_watch(house, settle_s))
                bars.advance(bar)
        finally:
            crowd.close()
        return _judged(crowd.said, seen, bars)


@contextmanager
def _house(folder: Path) -> Iterator[tuple[_House, list[Node]]]:
    with private_broker(folder, hubs=_HUBS, nodes=[*_NODES, _OBSERVER]) as broker, ExitStack() as stack:
        house = _House(broker, folder)
        stack.callback(house.close)
        for hub in _HUBS:
            house.start(hub)
        nodes = []
        for number, name in enumerate(_NODES):
            mode = _MODES[number % len(_MODES)]
            settings = NodeSettings(
                name=name, pair=_PAIR, wait_s=60.0, guided=False, mode=mode, broker=broker.settings(name)
            )
            node = Node(settings)
            stack.callback(node.close)
            node.connect()
            nodes.append(node)
        yield house, nodes


def _watch(house: _House, settle_s: float) -> _Restart:
    """Look how the sessions spread, until they have been even for a while; for so many seconds at most until they are."""
    began = time.monotonic()
    even_s: float | None = None
    seen: list[float] = []
    while (passed_s := time.monotonic() - began) < (settle_s if even_s is None else even_s + _HOLD_S):
        spread = uneven(list(house.sessions().values()))
        if even_s is None and spread <= EVEN and passed_s > 1.0:  # what a hub says is up to a second old
            even_s, seen = passed_s, []
        seen.append(spread)
        time.sleep(_LOOK_S)
    return _Restart(even_s, sum(seen) / len(seen), house.sessions())


def _judged(said: Sequence[_Said], seen: Sequence[_Restart], bars: Progress) -> Rolled:
    complaints = [each.failed for each in said if each.failed]
    lost = len(complaints)
    mismatched = compared = 0
    tokenizer = ChatTokenizer(load_pair(_PAIR))
    torch.set_num_threads(1)  # for a model this small a second thread costs more than it brings
    oracle = Oracle(load_pair(_PAIR).target, tokenizer.vocab_size, sorted(tokenizer.end_ids), 1024)
    answers = [each for each in said if not each.failed]
    for each in bars.track(answers, description="the oracle"):
        prompt = tokenizer.prompt([Turn("user", each.chat.requests[0])])
        truth = oracle.confirm(prompt, each.ids, Rule(*each.chat.sampling, each.chat.seed), _MAX_TOKENS)
        wrong = sum(a != b for a, b in zip_longest(truth, each.ids))
        compared, mismatched = compared + len(truth), mismatched + wrong
        if wrong:
            complaints.append(f"chat {each.chat.number}: {list(each.ids)} should be {truth}")
    moved = [each.pause_s for each in answers if each.moved]
    even = [restart.even_s for restart in seen if restart.even_s is not None]
    figures = {
        "restarts": len(seen),
        "answers": len(answers),
        "lost_answers": lost,
        "mismatched_tokens": mismatched,
        "compared_tokens": compared,
        "moved_answers": len(moved),
        "longest_pause_s": round(max(moved, default=0.0), 3),
        "uneven_restarts": len(seen) - len(even),
        "even_s_worst": round(max(even), 1) if even else None,
        "spread": round(max(restart.spread for restart in seen), 3),
        "sessions": [restart.sessions for restart in seen],
    }
    return Rolled(figures, complaints)
