"""Who gets a seat when there are none left, and who gives one up."""

from __future__ import annotations

import pytest
import torch

from hub.kv.kv_cache import KVCache
from hub.kv.pages import PagePool
from hub.sessions.book import SessionBook
from hub.sessions.memory import KVMemory
from hub.sessions.service_classes import ServiceClass, ServiceClasses
from hub.sessions.session import HubSession, Limits, SessionKey
from shared.messages import Draft

LIMITS = Limits(context=64, vocab_size=16, end_ids=frozenset({1}), max_draft=8)
SEATS = 1000


@pytest.fixture
def book() -> SessionBook:
    memory = KVMemory(PagePool(64), KVCache(1, 64, 1, 2, torch.float32, torch.device("cpu")), lambda _: None)
    classes = ServiceClasses(("voice",), ("camera*",))
    return SessionBook(
        LIMITS, memory, max_sessions=SEATS, max_per_node=8, ttl_s=3600.0, patience_s=2.0, class_of=classes.of
    )


def opened(book: SessionBook, node: str, now: float, number: int = 0) -> HubSession:
    key = SessionKey(node, number.to_bytes(16, "big"))
    assert book.open(key, now)
    session = book.get(key)
    assert session is not None
    return session


def answering(book: SessionBook, node: str, now: float, number: int = 0) -> HubSession:
    """A session whose node drafts its next block."""
    session = opened(book, node, now, number)
    session.receive(Draft(1, 0, 0, until=3, append=(5, 6)))
    session.commit([7])
    assert not session.has_work
    return session


def test_names_without_number_take_seats_from_those_that_nobody_waits_for(book: SessionBook) -> None:
    slow = answering(book, "slow", 0.0)
    for number in range(5 * SEATS):
        opened(book, f"crowd-{number}", 10.0)
    assert book.holds(slow), "silent for long, and yet in the middle of an answer"
    assert len(book) == SEATS
    book.check_integrity()


def test_an_answer_in_progress_is_not_given_up_for_newcomers(book: SessionBook) -> None:
    sessions = [answering(book, f"node-{number}", 1.0) for number in range(SEATS)]
    assert not book.open(SessionKey("new", bytes(16)), 2.9)
    assert all(book.holds(session) for session in sessions)
    assert book.open(SessionKey("new", bytes(16)), 3.1), "nobody has said anything for 2 s"
    assert not book.holds(sessions[0]), "the longest silent"
    assert len(book) == SEATS


def test_an_answer_that_has_ended_gives_way_before_one_in_progress(book: SessionBook) -> None:
    sessions = [answering(book, f"node-{number}", 0.0) for number in range(SEATS)]
    ended = sessions[7]
    ended.receive(Draft(2, 3, ended.transcript.digest(3), until=4))
    ended.commit([1])
    opened(book, "new", 9.0)
    assert [session for session in sessions if not book.holds(session)] == [ended]


def test_a_name_with_too_many_sessions_loses_its_own(book: SessionBook) -> None:
    others = [opened(book, f"node-{number}", 0.0) for number in range(20)]
    mine = [answering(book, "busy", 1.0, number) for number in range(3)]
    for number in range(3, 5000):
        opened(book, "busy", 1.0, number)
    assert all(book.holds(session) for session in (*others, *mine))
    assert book.sessions_of("busy") == 8
    assert len(book) == 28


def test_a_session_of_a_lower_class_gives_way_before_one_that_was_silent_for_longer(book: SessionBook) -> None:
    voice = opened(book, "voice", 0.0)
    cameras = [opened(book, f"camera-{number}", 1.0) for number in range(100)]
    for number in range(SEATS - 101):
        opened(book, f"node-{number}", 2.0)
    opened(book, "new", 3.0)
    assert book.holds(voice)
    assert not book.holds(cameras[0])
    assert book.has_above(ServiceClass.BACKGROUND)
    assert not book.has_above(ServiceClass.VOICE)
    book.close(voice.key)
    assert not book.has_above(ServiceClass.NORMAL)


def test_a_session_of_a_lower_class_loses_its_pages_to_a_newer_answer_of_a_higher_one(book: SessionBook) -> None:
    camera, other, voice = (opened(book, node, 1.0) for node in ("camera", "node", "voice"))
    for begun, session in enumerate((camera, other, voice)):
        session.receive(Draft(1, 0, 0, until=3, append=(5, 6)), begun)
    for session in (camera, other):
        assert book.take_pages(session, LIMITS.context, (), book.givers(1.0)) == []
    givers = book.givers(1.0)
    assert list(givers.of(voice, ())) == [camera, other]
    assert list(book.givers(1.0).of(other, ())) == [camera]
    assert list(book.givers(1.0).of(camera, ())) == []
