"""The inbox: every node's messages in order, and nobody kept waiting by another's flood."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from hub.engine import inbox
from hub.engine.inbox import Arrival, Inbox
from hub.sessions.service_classes import ServiceClass
from hub.sessions.session import SessionKey
from shared.messages import Close
from tests.clock import Clock


def arrival(node: str, number: int = 0) -> Arrival:
    return Arrival.of(SessionKey(node, number.to_bytes(16, "big")), Close(), 0.0)


def read(box: Inbox) -> list[tuple[str, int]]:
    taken = []
    while (one := box.get(0.0)) is not None:
        request = one.read()
        assert request is not None
        taken.append((one.node, int.from_bytes(request.key.id, "big")))
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
        sent = arrival("pi")
        assert box.put(sent)
        assert waiting.result(timeout=60) is sent, "long before its time is over"


def test_a_node_beyond_its_share_waits_while_others_are_served() -> None:
    clock = Clock()
    box = Inbox(clock)
    box.put(arrival("flood"))
    box.put(arrival("calm"))
    box.charge("flood", 0.05, sessions=0)
    assert taken(box, {"calm"}) == "calm"
    assert taken(box, {"calm", "flood"}) == ""
    assert taken(box, {"flood"}) == "flood", "nobody else is served"
    box.put(arrival("flood"))
    clock.now += 1.0
    assert taken(box, {"calm"}) == ""
    clock.now += 1.0
    assert taken(box, {"calm"}) == "flood", "its share of the time that passed has paid for what it took"


def test_who_has_more_sessions_may_take_more_time() -> None:
    clock = Clock()
    box = Inbox(clock)
    for node, sessions in (("flood", 1), ("gateway", 1000)):
        box.put(arrival(node))
        box.charge(node, 0.05, sessions)
    clock.now += 0.1
    assert taken(box, {"calm"}) == "gateway"
    assert taken(box, {"calm"}) == ""


def taken(box: Inbox, served: set[str]) -> str:
    """The node of the next message, if one may be read."""
    one = box.get(0.0, served)
    return "" if one is None else one.node


def test_what_is_deferred_is_read_when_its_time_has_come() -> None:
    box = Inbox()
    box.put(arrival("flood"))
    box.charge("flood", 0.005, sessions=0)
    began = time.monotonic()
    assert taken(box, {"calm"}) == ""
    one = box.get(3600.0, {"calm"})
    assert one is not None
    assert 0.08 < time.monotonic() - began < 60


def test_what_waits_is_bounded_in_bytes() -> None:
    box = Inbox()
    large = replace(arrival("flood"), size=inbox._MOST_BYTES_OF_NODE // 2)
    assert box.put(large)
    assert box.put(large)
    assert not box.put(large)
    assert box.put(arrival("calm"))
    for node in range(30):
        box.put(replace(arrival(f"node-{node}"), size=inbox._MOST_BYTES_OF_NODE))
    assert len(box) == 3 + (inbox._MOST_BYTES - inbox._MOST_BYTES_OF_NODE) // inbox._MOST_BYTES_OF_NODE
    while box.get(0.0) is not None:
        pass
    assert box.put(large), "what was read no longer counts"


def classes(node: str) -> ServiceClass:
    return {"v": ServiceClass.VOICE, "c": ServiceClass.BACKGROUND}.get(node[0], ServiceClass.NORMAL)


def test_a_higher_class_is_read_first() -> None:
    box = Inbox(class_of=classes)
    for node in ("camera", "den", "voice", "camera", "den"):
        assert box.put(arrival(node))
    assert [node for node, _ in read(box)] == ["voice", "den", "den", "camera", "camera"]


def test_a_full_inbox_drops_messages_of_the_lowest_class_first() -> None:
    box = Inbox(class_of=classes)
    for node in range(8):
        for number in range(inbox._MOST_OF_NODE):
            assert box.put(arrival(f"den-{node}", number))
    assert len(box) == inbox._MOST
    assert not box.put(arrival("camera")), "all others are of a higher class"
    assert ("camera", 0) not in read(box)
    for node in range(8):
        for number in range(inbox._MOST_OF_NODE):
            box.put(arrival(f"camera-{node}", number))
    assert not box.put(arrival("voice")), "another message was dropped for it"
    assert box.lost == 2
    assert read(box)[0] == ("voice", 0)
    assert len(box) == 0
