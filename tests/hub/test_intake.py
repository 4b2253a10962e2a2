"""What the hub queues of what arrives, and what it only counts."""

from __future__ import annotations

import pytest

from hub.engine.inbox import Arrival, Request
from hub.intake import Intake
from hub.sessions.session import Limits
from shared.codec import encode
from shared.messages import AnyMessage, Close, Draft, Fault, FaultCode, Open, Verdict
from shared.topics import Topics
from tests.clock import Clock

TOPICS = Topics("sled")
SESSION = bytes(range(16))
LIMITS = Limits(context=8, vocab_size=16, end_ids=frozenset(), max_draft=4)
OPEN = TOPICS.open("den", "pi")
DRAFT = TOPICS.draft("den", "pi", SESSION.hex())


def taken_in(topic: str, payload: bytes) -> tuple[list[Request], int]:
    """What an engine reads of one message, and the malformed frames that were counted by then."""
    queued: list[Arrival] = []
    intake = Intake(TOPICS, LIMITS, queued.append, lambda _node, _size: True)
    (intake.on_open if topic == OPEN else intake.on_draft)(topic, payload)
    read = [arrival.read() for arrival in queued]
    return [request for request in read if request is not None], intake.malformed


@pytest.mark.parametrize(
    ("topic", "message"),
    [
        (OPEN, Open(SESSION, "home", bytes(16))),
        (DRAFT, Draft(1, 0, 0, append=(1, 2, 3), until=4)),
        (DRAFT, Close()),
    ],
)
def test_a_message_is_queued_for_the_session_that_its_topic_names(topic: str, message: AnyMessage) -> None:
    (request,), malformed = taken_in(topic, encode(message))
    assert (request.key.node, request.key.id, request.message, malformed) == ("pi", SESSION, message, 0)


@pytest.mark.parametrize(
    ("topic", "payload"),
    [
        (OPEN, b"junk"),
        (OPEN, encode(Close())),
        (DRAFT, b""),
        (DRAFT, encode(Verdict(1, 0))),
        (DRAFT, encode(Open(SESSION, "home", bytes(16)))),
        ("sled/session/den/pi/not-hex/draft", encode(Close())),
    ],
)
def test_what_does_not_belong_there_is_counted_and_changes_nothing(topic: str, payload: bytes) -> None:
    assert taken_in(topic, payload) == ([], 1)


@pytest.mark.parametrize("length", [9, 9_000])
def test_a_draft_that_no_context_could_hold_is_answered_by_its_refusal(length: int) -> None:
    (request,), malformed = taken_in(DRAFT, encode(Draft(3, 0, 0, append=(2**30,) * length)))
    assert isinstance(request.message, Fault)
    assert (request.message.code, request.message.round, malformed) == (FaultCode.TOO_LONG, 3, 0)


def test_what_is_too_large_does_not_wait() -> None:
    queued: list[Arrival] = []
    intake = Intake(TOPICS, LIMITS, queued.append, lambda _node, _size: True)
    intake.on_open(OPEN, bytes(50_000))
    intake.on_draft(DRAFT, bytes(50_000))
    assert (queued, intake.malformed) == ([], 2)
    intake.on_draft(DRAFT, encode(Draft(3, 0, 0, append=(1,) * 100_000)))
    assert queued[0].size < 5_000


def test_the_log_has_a_line_a_minute_about_malformed_frames(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    intake = Intake(TOPICS, LIMITS, lambda _: None, lambda _node, _size: True, clock)
    for _ in range(500):
        intake.on_open(OPEN, bytes(50_000))
    clock.now += 61
    intake.on_open(OPEN, bytes(50_000))
    assert [record.getMessage().split(" more")[0] for record in caplog.records] == [
        "malformed frames: 1",
        "malformed frames: 500",
    ]


def test_the_gate_is_closed_for_a_node_that_has_no_room_and_open_for_others() -> None:
    intake = Intake(TOPICS, LIMITS, lambda _: None, lambda node, size: node != "pi" and size < 100)
    assert not intake.admits(OPEN.encode(), 50)
    assert not intake.admits(DRAFT.encode(), 50)
    assert intake.admits(TOPICS.open("den", "jetson").encode(), 50)
    assert intake.admits(TOPICS.draft("den", "jetson", "0" * 32).encode(), 50)
    assert not intake.admits(TOPICS.draft("den", "jetson", "0" * 32).encode(), 500)
    assert intake.admits(TOPICS.hub("den", "status").encode(), 500)
    assert intake.refused == 3
