"""What the hub queues of what arrives, and what it only counts."""

from __future__ import annotations

import pytest

from hub.engine.inbox import Arrival
from hub.intake import Intake
from hub.sessions.session import Limits
from shared.codec import encode
from shared.messages import AnyMessage, Close, Draft, Fault, FaultCode, Open, Verdict
from shared.topics import Topics

TOPICS = Topics("sled")
SESSION = bytes(range(16))
LIMITS = Limits(context=8, vocab_size=16, end_ids=frozenset(), max_draft=4)
OPEN = TOPICS.open("den", "pi")
DRAFT = TOPICS.draft("den", "pi", SESSION.hex())


def taken_in(topic: str, payload: bytes) -> tuple[list[Arrival], int]:
    """What an intake queues of one message, and the malformed frames that it has counted."""
    queued: list[Arrival] = []
    intake = Intake(TOPICS, LIMITS, queued.append)
    (intake.on_open if topic == OPEN else intake.on_draft)(topic, payload)
    return queued, intake.malformed


@pytest.mark.parametrize(
    ("topic", "message"),
    [
        (OPEN, Open(SESSION, "home", bytes(16))),
        (DRAFT, Draft(1, 0, 0, append=(1, 2, 3), until=4)),
        (DRAFT, Close()),
    ],
)
def test_a_message_is_queued_for_the_session_that_its_topic_names(topic: str, message: AnyMessage) -> None:
    (arrival,), malformed = taken_in(topic, encode(message))
    assert (arrival.key.node, arrival.key.id, arrival.message, malformed) == ("pi", SESSION, message, 0)


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


def test_a_draft_that_no_context_could_hold_waits_as_its_refusal() -> None:
    (arrival,), malformed = taken_in(DRAFT, encode(Draft(3, 0, 0, append=(1,) * 9)))
    assert isinstance(arrival.message, Fault)
    assert (arrival.message.code, arrival.message.round, malformed) == (FaultCode.TOO_LONG, 3, 0)
