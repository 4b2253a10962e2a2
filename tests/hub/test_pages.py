"""Pages: every one is accounted for, and holds the K/V of just those ids that its holders believe are in it."""

from __future__ import annotations

import pytest

from hub.kv.pages import PAGE_SIZE, OutOfPages, PagePool, page_key, slot_of
from hub.sessions.session import Limits

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
    pool.register(first[0], key, "pi")
    pool.shrink(first, 0)
    assert pool.available == 2
    page = pool.share(key)
    assert page is not None
    assert pool.available == 1
    pool.drop(page)
    pool.grow(second, 2 * PAGE_SIZE)
    assert pool.share(key) is None


def test_a_page_is_claimed_by_its_only_holder_and_found_no_more() -> None:
    pool, table = PagePool(2), no_pages()
    pool.grow(table, PAGE_SIZE)
    pool.register(table[0], b"key", "pi")
    other = pool.share(b"key")
    assert other == table[0]
    assert not pool.claim(table[0])
    pool.drop(other)
    assert pool.claim(table[0])
    assert pool.share(b"key") is None
    pool.check_integrity([table])


def test_the_end_of_a_prefix_gives_way_before_its_beginning() -> None:
    pool, table = PagePool(3), no_pages()
    pool.grow(table, 3 * PAGE_SIZE)
    keys = [bytes([n]) for n in range(3)]
    for page, key in zip(table, keys, strict=True):
        pool.register(page, key, "pi")
    pool.shrink(table, 0)
    pool.take()
    assert [pool.share(key) is not None for key in keys] == [True, True, False]
