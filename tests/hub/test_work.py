"""Which sessions have work: right whenever it is read, however they came to have it or to lose it."""

from __future__ import annotations

import torch

from hub.engine.work import Work
from hub.kv.kv_cache import KVCache
from hub.kv.pages import PagePool
from hub.sessions.book import SessionBook
from hub.sessions.memory import KVMemory
from hub.sessions.session import HubSession, Limits, SessionKey
from shared.messages import Draft

LIMITS = Limits(context=64, vocab_size=16, end_ids=frozenset(), max_draft=8)


def book() -> SessionBook:
    memory = KVMemory(PagePool(8), KVCache(1, 8, 1, 2, torch.float32, torch.device("cpu")), lambda key: None)
    return SessionBook(LIMITS, memory, max_sessions=8, max_per_node=8, ttl_s=60.0)


def asking(sessions: SessionBook, number: int) -> HubSession:
    """A session that wants one token behind two ids."""
    key = SessionKey("node", bytes([number]) * 16)
    assert sessions.open(key, 0.0)
    session = sessions.get(key)
    assert session is not None
    session.receive(Draft(1, 0, 0, until=3, append=(5, 6)), number)
    return session


def test_sessions_are_listed_in_the_order_in_which_their_work_came() -> None:
    sessions = book()
    work = Work(sessions)
    made = [asking(sessions, number) for number in (1, 2, 3)]
    for at, session in zip((3.0, 1.0, 2.0), made, strict=True):
        work.note(session, at)
    assert work.sessions() == made
    assert [work.since(session) for session in made] == [3.0, 1.0, 2.0]


def test_a_session_falls_out_when_its_work_is_done_or_it_is_closed() -> None:
    sessions = book()
    work = Work(sessions)
    done, closed, goes_on = (asking(sessions, number) for number in (1, 2, 3))
    for session in (done, closed, goes_on):
        work.note(session, 0.0)
    done.commit([7])
    sessions.close(closed.key)
    assert work.sessions() == [goes_on]
    assert len(work) == 1


def test_a_session_that_was_noted_without_work_is_not_listed() -> None:
    sessions = book()
    work = Work(sessions)
    session = asking(sessions, 1)
    session.commit([7])
    work.note(session, 0.0)
    assert not work


def test_a_session_that_was_opened_anew_under_the_same_key_is_another() -> None:
    sessions = book()
    work = Work(sessions)
    old = asking(sessions, 1)
    work.note(old, 0.0)
    sessions.close(old.key)
    asking(sessions, 1)
    assert work.sessions() == []
