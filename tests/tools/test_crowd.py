"""Names and sessions without number, and who does not read: a hub's memory is bounded, and nobody in the middle of an answer suffers."""

from __future__ import annotations

import itertools
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from edge_node.assembly import connected
from edge_node.dialogue.answer import Answer
from edge_node.dialogue.conversation import Conversation
from edge_node.dialogue.generation import Generation
from shared.codec import decode, encode, encode_in, split_session
from shared.messages import Close, Draft, Fault, Open, Opened
from shared.mqtt import MqttLink
from shared.pair import load_pair
from shared.settings import size_in_bytes
from shared.topics import Topics
from tools.rig.memory import rss_mb
from tools.rig.testbed import HUB, HubBed, running_hub

pytestmark = pytest.mark.slow  # it starts a hub

TOPICS, CROWD, KV = Topics(), "crowd", "64M"
COUNT, FLOOD = 1_400, 5_000  # names; messages that fill the queue of who does not read them
REQUESTS = ("turn on the kitchen lights", "close the garage door and lock the front door")
SESSION_BYTES = 4_000  # of a session and its node's bookkeeping; docs/security.md has it
MOST_SESSIONS = 1_024
RATE = 1_000  # sessions that are asked for in a second
OTHER_MB = 30  # of queues that fill once, and of what Python's allocator keeps
BROKER_MB = 40  # two full queues of a connection, and what is in flight


@pytest.fixture(scope="module")
def hub() -> Iterator[HubBed]:
    options = ["--threads", "1", "--kv-memory", KV, "--max-sessions", str(MOST_SESSIONS)]
    with running_hub(["calm-0", "calm-1", "new"], "home", options, crowds=[CROWD]) as bed:
        yield bed


class Crowd:
    """One connection that speaks for very many nodes, and counts what they are told."""

    def __init__(self, hub: HubBed) -> None:
        self.opened: dict[bytes, str] = {}
        self.told: Counter[str] = Counter()
        pair = load_pair("home")
        self._pair, self._tokenizer = pair.name, pair.tokenizer_hash()
        self._link = MqttLink(hub.broker.settings(CROWD), CROWD)
        self._link.connect()
        self._link.subscribe(TOPICS.opened("+"), self._on_opened)
        self._link.subscribe(TOPICS.verdict(HUB, "+"), self._on_verdict)

    def open(self, nodes: list[str]) -> None:
        """Ask for a session in each of these names."""
        began = time.monotonic()
        for number, node in enumerate(nodes):
            time.sleep(max(0.0, began + number / RATE - time.monotonic()))
            self._link.publish(
                TOPICS.open(HUB, node), encode(Open(number.to_bytes(16, "big"), self._pair, self._tokenizer))
            )

    def draft(self) -> None:
        """Leave a draft in each session that was opened, and never go on with it."""
        for session, node in list(self.opened.items()):
            self._link.publish(TOPICS.draft(HUB, node), encode_in(session, Draft(1, 0, 0, until=4, append=(5, 6, 7))))
        self.settle()

    def close(self) -> None:
        """End the sessions, and the connection."""
        for session, node in list(self.opened.items()):
            self._link.publish(TOPICS.draft(HUB, node), encode_in(session, Close()))
        self._link.close()

    def settle(self) -> None:
        """Wait until the hub says no more."""
        before = -1
        while before != (now := self.told.total()):
            before = now
            time.sleep(1.0)

    def _on_verdict(self, topic: str, payload: bytes) -> None:
        if topic.split("/")[3].startswith(CROWD):
            self.told[type(decode(split_session(payload)[1])).__name__] += 1

    def _on_opened(self, topic: str, payload: bytes) -> None:
        answer = decode(payload, Opened, Fault)
        node = topic.split("/")[2]
        if node.startswith(CROWD):
            self.told[type(answer).__name__] += 1
            if isinstance(answer, Opened):
                self.opened[answer.session] = node


def ask(node: Conversation, request: str) -> tuple[str, int]:
    """The text of an answer, and how often its session was opened anew."""
    answer = Answer()
    for _ in node.ask(request, Generation(temperature=0.0), answer):
        pass
    node.clear()
    return answer.text, answer.stats.reopened


@contextmanager
def calm(hub: HubBed) -> Iterator[None]:
    """Two nodes that ask all the time; each answer is the right one, in the session that it began in."""
    stop = threading.Event()
    with connected(hub.node("calm-0")) as first, connected(hub.node("calm-1")) as second:
        right = [(ask(first, request)[0], 0) for request in REQUESTS]
        ask(second, REQUESTS[0])
        got: list[tuple[tuple[str, int], tuple[str, int]]] = []
        failed: list[Exception] = []

        def go_on(node: Conversation) -> None:
            try:
                for number in itertools.count():
                    if stop.is_set():
                        return
                    got.append((ask(node, REQUESTS[number % 2]), right[number % 2]))
            except Exception as error:
                failed.append(error)

        threads = [threading.Thread(target=go_on, args=(node,)) for node in (first, second)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            stop.set()
            for thread in threads:
                thread.join()
    assert failed == []
    assert got
    assert [answer for answer, truth in got if answer != truth] == []


@contextmanager
def bounded(hub: HubBed) -> Iterator[None]:
    """The hub and the broker grow no more than they may, and serve a newcomer at once afterwards."""
    before, of_broker = rss_mb(hub.hub_pid), rss_mb(hub.broker.process.pid)
    yield
    grown, of_broker = rss_mb(hub.hub_pid) - before, rss_mb(hub.broker.process.pid) - of_broker
    assert grown < (size_in_bytes(KV) + MOST_SESSIONS * SESSION_BYTES) / 1e6 + OTHER_MB
    assert of_broker < BROKER_MB
    with connected(hub.node("new")) as node:
        assert ask(node, REQUESTS[0])[1] == 0
    assert hub.latest_stats()["sessions"] <= MOST_SESSIONS


def test_more_names_than_sessions(hub: HubBed) -> None:
    crowd = Crowd(hub)
    with bounded(hub):
        with calm(hub):
            crowd.open([f"{CROWD}-{number}" for number in range(COUNT)])
            crowd.settle()
        assert crowd.told["Fault"] == 0, "who only opens a session keeps nobody out"
    crowd.close()


def test_a_draft_of_each_of_more_names_than_sessions(hub: HubBed) -> None:
    crowd = Crowd(hub)
    with bounded(hub):
        crowd.open([f"{CROWD}-{number}" for number in range(COUNT)])
        crowd.settle()
        crowd.draft()
    assert crowd.told["Verdict"] > COUNT / 2
    crowd.close()


def test_more_sessions_of_one_name_than_it_may_have(hub: HubBed) -> None:
    crowd = Crowd(hub)
    with bounded(hub), calm(hub):
        crowd.open([f"{CROWD}-0"] * COUNT)
        deadline = time.monotonic() + 60
        while crowd.told["Opened"] <= 64:  # whose place another one has taken by then
            assert time.monotonic() < deadline
            time.sleep(0.1)
    crowd.close()


def test_who_does_not_read_what_it_asked_for(hub: HubBed) -> None:
    settings = hub.broker.settings(CROWD)
    reader = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
    reader.username_pw_set(CROWD, settings.password())
    subscribed = threading.Event()

    def subscribe(*_: object) -> None:
        reader.subscribe(f"{TOPICS.prefix}/#", qos=1)

    reader.on_connect = subscribe
    reader.on_subscribe = lambda *_: subscribed.set()
    reader.connect(settings.host, settings.port)
    while not subscribed.is_set():
        reader.loop(0.1)
    crowd = Crowd(hub)
    with bounded(hub), calm(hub):
        crowd.open([f"{CROWD}-{number}" for number in range(FLOOD)])
    crowd.close()
    sock = reader.socket()
    assert sock is not None
    sock.close()
