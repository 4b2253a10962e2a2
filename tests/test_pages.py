"""Pages: every one is accounted for, and holds the K/V of just those ids that its holders believe are in it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from hub.book import SessionBook
from hub.memory import KVMemory
from hub.pages import PAGE_SIZE, OutOfPages, PagePool, page_key, slot_of
from hub.session import HubSession, Limits, SessionKey
from shared.messages import Draft

LIMITS = Limits(context=8 * PAGE_SIZE, vocab_size=64, end_ids=frozenset({1}), max_draft=4)


def no_pages() -> list[int]:
    return []


def slots(table: list[int], length: int) -> list[int]:
    return [slot_of(table, position) for position in range(length)]


def test_a_table_gives_the_slots_of_its_pages_in_order() -> None:
    pool, table = PagePool(4), no_pages()
    pool.grow(table, PAGE_SIZE + 2)
    first, second = table
    expected = [*range(first * PAGE_SIZE, (first + 1) * PAGE_SIZE), second * PAGE_SIZE, second * PAGE_SIZE + 1]
    assert slots(table, PAGE_SIZE + 2) == expected
    pool.shrink(table, PAGE_SIZE)
    assert (table, pool.available) == ([first], 3)


def test_growing_past_the_free_pages_takes_nothing() -> None:
    pool, table = PagePool(2), no_pages()
    with pytest.raises(OutOfPages):
        pool.grow(table, 3 * PAGE_SIZE)
    assert (table, pool.available) == ([], 2)


def test_integrity_notices_a_page_held_twice() -> None:
    pool, table = PagePool(2), no_pages()
    pool.grow(table, 1)
    with pytest.raises(AssertionError):
        pool.check_integrity([table, table])


def test_a_registered_page_is_found_until_its_place_is_needed() -> None:
    pool, first, second = PagePool(2), no_pages(), no_pages()
    pool.grow(first, PAGE_SIZE)
    key = page_key(b"", range(PAGE_SIZE))
    pool.register(first[0], key)
    assert not pool.is_writable(first[0])
    pool.shrink(first, 0)
    assert pool.available == 2
    assert pool.share(key) is not None
    assert pool.available == 1
    pool.drop(0 if pool.available == 2 else next(p for p in range(2) if not pool.is_writable(p)))
    pool.grow(second, 2 * PAGE_SIZE)
    assert pool.share(key) is None


def test_the_end_of_a_prefix_gives_way_before_its_beginning() -> None:
    pool, table = PagePool(3), no_pages()
    pool.grow(table, 3 * PAGE_SIZE)
    keys = [bytes([n]) for n in range(3)]
    for page, key in zip(table, keys, strict=True):
        pool.register(page, key)
    pool.shrink(table, 0)
    pool.take()
    assert [pool.share(key) is not None for key in keys] == [True, True, False]


# Three texts that begin alike, two of them for two pages and a half, the third for one page.
TEXTS = tuple(
    tuple(range(2, 2 + same)) + (number + 50,) * (128 - same) for number, same in ((0, 40), (1, 40), (2, PAGE_SIZE))
)


class Sessions(RuleBasedStateMachine):
    """Chats of three nodes over too few pages and seats; computing writes each id into its slot."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = PagePool(12)
        self.written: dict[int, tuple[int, ...]] = {}  # slot → the ids up to and with the one whose K/V it holds
        memory = KVMemory(self.pool, self.copy, lambda key: None if key.node == "c" else b"home")
        self.memory = memory
        self.book = SessionBook(LIMITS, memory, max_sessions=4, max_per_node=3, ttl_s=20.0)
        self.now = 0.0
        self.turns = itertools.count()

    def copy(self, source: int, destination: int) -> None:
        for offset in range(PAGE_SIZE):
            self.written[destination * PAGE_SIZE + offset] = self.written[source * PAGE_SIZE + offset]

    def forward(self, session: HubSession, ids: Sequence[int]) -> None:
        """Write the K/V of `ids` from `computed` on, as a target does."""
        text = [*session.transcript.ids[: session.computed], *ids]
        for position in range(session.computed, len(text)):
            self.written[slot_of(session.pages, position)] = tuple(text[: position + 1])

    keys = st.builds(SessionKey, st.sampled_from(["a", "b", "c"]), st.integers(0, 1).map(lambda n: bytes([n]) * 16))

    @rule(
        key=keys,
        text=st.sampled_from(TEXTS),
        length=st.integers(1, 100),
        cut=st.integers(0, 100),
        until=st.sampled_from([0, 128]),
    )
    def ask(self, key: SessionKey, text: tuple[int, ...], length: int, cut: int, until: int) -> None:
        """Let the chat become the beginning of one of the texts, keeping at most `cut` ids of it."""
        self.now += 1
        assert self.book.open(key, self.now) == (self.book.get(key) is not None)
        session = self.book.get(key)
        if session is None:
            return
        pairs = zip(session.transcript.ids, text[:length], strict=False)
        base = min(cut, sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs)))
        digest = session.transcript.digest(base)
        session.receive(
            Draft(session.round + 1, base, digest, until=until, append=text[base:length], cut=base < session.committed)
        )
        session.begun = next(self.turns)

    @precondition(lambda self: any(session.has_work for session in self.book))
    @rule(which=st.integers(0, 3), chunk=st.sampled_from([7, 100]), drafted=st.integers(0, 4))
    def work(self, which: int, chunk: int, drafted: int) -> None:
        """Compute and commit some of what one session wants."""
        working = [session for session in self.book if session.has_work]
        session = working[which % len(working)]
        self.memory.adopt(session)
        end = min(session.computed + chunk, session.committed)
        reaches = end == session.committed and session.wants_tokens
        session.drafted = (60,) * min(drafted, LIMITS.context - end - 1) if reaches else ()
        older = {s.key: s.computed for s in working if s.begun < session.begun}
        got_room = self.book.give_room(session, end + len(session.drafted), (), self.now)
        assert all(self.book.get(key).computed == computed for key, computed in older.items()), "an older answer lost"  # type: ignore[union-attr]
        if not got_room:
            assert session.begun > min(s.begun for s in working), "the oldest answer did not get its room"
            return
        self.forward(session, [*session.transcript.ids[session.computed : end], *session.drafted])
        if reaches:
            right = len(session.drafted) // 2
            session.commit([60] * right + [61] * (len(session.drafted) + 1 - right))
        else:
            session.computed = end
        self.memory.offer(session)

    @precondition(lambda self: len(self.book) == 4)
    @rule(key=keys)
    def close(self, key: SessionKey) -> None:
        self.book.close(key)
        assert self.book.get(key) is None

    @precondition(lambda self: len(self.book) > 0)
    @rule(seconds=st.floats(0, 4))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        self.book.expire(self.now)

    @invariant()
    def holds(self) -> None:
        self.book.check_integrity()
        assert len(self.book) <= 4
        for session in self.book:
            ids = tuple(session.transcript.ids)
            for position, slot in enumerate(slots(session.pages, session.computed)):
                assert self.written[slot] == ids[: position + 1], "a slot holds what another wrote"


TestSessions = Sessions.TestCase
TestSessions.settings = settings(max_examples=100, stateful_step_count=50, deadline=None)
