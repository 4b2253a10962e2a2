"""Pages: every one is free or held once, whatever is opened, grown, closed or evicted."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from hub.book import SessionBook
from hub.pages import PAGE_SIZE, OutOfPages, PagePool, PageTable
from hub.session import Limits, SessionKey
from shared.messages import Draft

LIMITS = Limits(context=8 * PAGE_SIZE, vocab_size=50, end_ids=frozenset({1}), max_draft=4)


def test_a_table_gives_the_slots_of_its_pages_in_order() -> None:
    pool, table = PagePool(4), PageTable()
    pool.grow(table, PAGE_SIZE + 2)
    first, second = table.pages
    expected = [*range(first * PAGE_SIZE, (first + 1) * PAGE_SIZE), second * PAGE_SIZE, second * PAGE_SIZE + 1]
    assert table.slots(PAGE_SIZE + 2) == expected
    pool.shrink(table, PAGE_SIZE)
    assert (table.pages, pool.free) == ([first], 3)


def test_growing_past_the_free_pages_takes_nothing() -> None:
    pool, table = PagePool(2), PageTable()
    with pytest.raises(OutOfPages):
        pool.grow(table, 3 * PAGE_SIZE)
    assert (table.pages, pool.free) == ([], 2)


def test_integrity_notices_a_page_held_twice() -> None:
    pool, table = PagePool(2), PageTable()
    pool.grow(table, 1)
    with pytest.raises(AssertionError):
        pool.check_integrity([table, table])


class Sessions(RuleBasedStateMachine):
    """Sessions of three nodes over too few pages and seats."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = PagePool(12)
        self.book = SessionBook(LIMITS, self.pool, max_sessions=5, max_per_node=3, ttl_s=20.0)
        self.now = 0.0

    keys = st.builds(SessionKey, st.sampled_from(["a", "b", "c"]), st.integers(0, 3).map(lambda n: bytes([n]) * 16))

    @rule(key=keys)
    def open(self, key: SessionKey) -> None:
        self.now += 1
        opened = self.book.open(key, self.now)
        assert opened == (self.book.find(key, self.now) is not None)

    @rule(key=keys, prompt=st.integers(1, 80), until=st.integers(0, 100))
    def prompt(self, key: SessionKey, prompt: int, until: int) -> None:
        self.now += 1
        session = self.book.find(key, self.now)
        if session is not None:
            session.receive(
                Draft(session.round + 1, 0, 0, until=until, append=(5,) * prompt, cut=session.committed > 0)
            )
            if self.book.give_room(session, session.committed):
                session.computed = max(session.computed, session.committed - 1)

    @rule(key=keys)
    def close(self, key: SessionKey) -> None:
        self.book.close(key)
        assert self.book.find(key, self.now) is None

    @rule()
    def finish_all(self) -> None:
        for session in self.book:
            while session.wants_tokens:
                session.commit([1])

    @precondition(lambda self: len(self.book) > 0)
    @rule(seconds=st.floats(0, 30))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        self.book.expire(self.now)

    @invariant()
    def holds(self) -> None:
        self.book.check_integrity()
        assert len(self.book) <= 5


TestSessions = Sessions.TestCase
TestSessions.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
