"""What the hub queues of what arrives, and what it only counts."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from hub.engine.inbox import Arrival, Request
from hub.engine.turns import Turns
from hub.intake import Intake
from hub.sessions.session import Limits
from shared.codec import encode, encode_in, largest_frame
from shared.limits import MAX_DRAFT, MAX_PACKED_GRAMMAR
from shared.messages import AnyMessage, Close, Draft, Fault, FaultCode, Open, Verdict
from shared.topics import Topics
from tests.clock import Clock

TOPICS = Topics("sled")
SESSION = bytes(range(16))
LIMITS = Limits(context=8, vocab_size=16, end_ids=frozenset(), max_draft=4)
OPEN = TOPICS.open("den", "pi")
DRAFT = TOPICS.draft("den", "pi")


class Reading:
    """An engine's inbox and turns, as far as the intake uses them."""

    def __init__(
        self, submit: Callable[[Arrival], None], has_room: Callable[[str, int], bool] = lambda *_: True
    ) -> None:
        self.submit, self.has_room, self.turns = submit, has_room, Turns()


def taken_in(topic: str, payload: bytes) -> tuple[list[Request], int]:
    """What an engine reads of one message, and the malformed frames that were counted by then."""
    queued: list[Arrival] = []
    intake = Intake(TOPICS, LIMITS, Reading(queued.append))
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
def test_a_message_is_queued_for_the_session_that_it_names(topic: str, message: AnyMessage) -> None:
    (request,), malformed = taken_in(topic, encode(message) if topic == OPEN else encode_in(SESSION, message))
    assert (request.key.node, request.key.id, request.message, malformed) == ("pi", SESSION, message, 0)


@pytest.mark.parametrize(
    ("topic", "payload"),
    [
        (OPEN, b"junk"),
        (OPEN, encode(Close())),
        (DRAFT, b""),
        (DRAFT, SESSION[1:]),
        (DRAFT, SESSION),
        (DRAFT, encode(Close())),
        (DRAFT, encode_in(SESSION, Verdict(1, 0))),
        (DRAFT, encode_in(SESSION, Open(SESSION, "home", bytes(16)))),
        ("sled/session/den/pi/more/draft", encode_in(SESSION, Close())),
    ],
)
def test_what_does_not_belong_there_is_counted_and_changes_nothing(topic: str, payload: bytes) -> None:
    assert taken_in(topic, payload) == ([], 1)


@pytest.mark.parametrize("length", [9, 9_000])
def test_a_draft_that_no_context_could_hold_is_answered_by_its_refusal(length: int) -> None:
    (request,), malformed = taken_in(DRAFT, encode_in(SESSION, Draft(3, 0, 0, append=(2**30,) * length)))
    assert isinstance(request.message, Fault)
    assert (request.message.code, request.message.round, malformed) == (FaultCode.TOO_LONG, 3, 0)


def test_the_session_in_front_does_not_make_a_draft_too_large() -> None:
    limits = Limits(context=9_000, vocab_size=16, end_ids=frozenset(), max_draft=4)
    largest = largest_frame(limits.context + MAX_DRAFT) + MAX_PACKED_GRAMMAR
    draft = encode(Draft(3, 0, 0, append=(2**30,) * 9_000)).ljust(largest, b"\0")
    read: list[tuple[int, bool]] = []
    for frame in (draft, draft + b"\0"):
        queued: list[Arrival] = []
        intake = Intake(TOPICS, limits, Reading(queued.append))
        intake.on_draft(DRAFT, SESSION + frame)
        read.append((queued[0].size, queued[0].read() is None))
    # One is read, and found to have something behind it; the other is refused for its size.
    assert read == [(16 + largest, True), (largest_frame(0), False)]


def test_what_is_too_large_does_not_wait() -> None:
    queued: list[Arrival] = []
    intake = Intake(TOPICS, LIMITS, Reading(queued.append))
    intake.on_open(OPEN, bytes(50_000))
    intake.on_draft(DRAFT, bytes(50_000))
    assert (queued, intake.malformed) == ([], 2)
    intake.on_draft(DRAFT, encode_in(SESSION, Draft(3, 0, 0, append=(1,) * 100_000)))
    assert queued[0].size < 5_000


def test_the_log_has_a_line_a_minute_about_malformed_frames(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    intake = Intake(TOPICS, LIMITS, Reading(lambda _: None), clock)
    for _ in range(500):
        intake.on_open(OPEN, bytes(50_000))
    clock.now += 61
    intake.on_open(OPEN, bytes(50_000))
    assert [record.getMessage().split(" more")[0] for record in caplog.records] == [
        "malformed frames: 1",
        "malformed frames: 500",
    ]


@pytest.mark.parametrize("prefix", ["sled", "house/session"])
def test_the_gate_is_closed_for_a_node_that_has_no_room_and_open_for_others(prefix: str) -> None:
    topics = Topics(prefix)
    intake = Intake(topics, LIMITS, Reading(lambda _: None, lambda node, size: node != "pi" and size < 100))
    assert not intake.admits(topics.open("den", "pi").encode(), 50)
    assert not intake.admits(topics.draft("den", "pi").encode(), 50)
    assert intake.admits(topics.open("den", "jetson").encode(), 50)
    assert intake.admits(topics.draft("den", "jetson").encode(), 50)
    assert not intake.admits(topics.draft("den", "jetson").encode(), 500)
    assert intake.admits(topics.hub("den", "status").encode(), 500)
    assert intake.refused == 3
