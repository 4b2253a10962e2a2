"""The inbox: every node's messages in order, and nobody kept waiting by another's flood."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

from hub.engine import inbox
from hub.engine.inbox import Arrival, Inbox
from hub.sessions.session import SessionKey
from shared.messages import Close


def arrival(node: str, number: int = 0) -> Arrival:
    return Arrival(SessionKey(node, number.to_bytes(16, "big")), Close(), 0.0)


def read(box: Inbox) -> list[tuple[str, int]]:
    taken = []
    while (one := box.get(0.0)) is not None:
        taken.append((one.key.node, int.from_bytes(one.key.id, "big")))
    return taken


def test_nodes_take_turns_and_keep_their_order() -> None:
    box = Inbox()
    for number in range(5):
        assert box.put(arrival("flood", number))
    for number in range(2):
        assert box.put(arrival("calm", number))
    assert len(box) == 7
    assert read(box) == [("flood", 0), ("calm", 0), ("flood", 1), ("calm", 1), ("flood", 2), ("flood", 3), ("flood", 4)]
    assert len(box) == 0


def test_a_flood_is_refused_and_others_are_not() -> None:
    box = Inbox()
    taken = sum(box.put(arrival("flood", number)) for number in range(3 * inbox._MOST_OF_NODE))
    assert taken == inbox._MOST_OF_NODE
    assert box.put(arrival("calm"))
    for node in range(20):
        for number in range(inbox._MOST_OF_NODE):
            box.put(arrival(f"node-{node}", number))
    assert len(box) == inbox._MOST
    assert not box.put(arrival("late")), "another message was dropped for it"
    assert not box.put(arrival("node-3")), "of one that has as many as any"
    assert len(box) == inbox._MOST
    assert ("late", 0) in read(box)


def test_a_message_ends_the_wait_and_an_empty_inbox_does_not() -> None:
    box = Inbox()
    began = time.monotonic()
    assert box.get(0.05) is None
    assert time.monotonic() - began >= 0.05
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(box.get, 3600.0)
        assert box.put(arrival("pi"))
        assert waiting.result(timeout=60) == arrival("pi"), "long before its time is over"
