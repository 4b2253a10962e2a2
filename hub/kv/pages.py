"""Pages: fixed-size blocks of token slots of the KV cache, which sessions hold in tables, alone or with others."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from itertools import islice

PAGE_SIZE = 16  # token slots of one page


class OutOfPages(Exception):
    """Fewer pages can be had than were asked for; nothing was taken."""


def page_key(parent: bytes, ids: Sequence[int]) -> bytes:
    """The key of a full page from that of the page before it: 128-bit BLAKE2b over both, ids in four bytes each.

    It stands for all ids up to the page's end, since K and V depend on all of them.
    """
    packed = b"".join(token.to_bytes(4, "little") for token in ids)
    return blake2b(parent + packed, digest_size=16).digest()


def pages_for(length: int) -> int:
    """The number of pages that hold `length` positions."""
    return -(-length // PAGE_SIZE)


def slot_of(table: Sequence[int], position: int) -> int:
    """The slot of a position: slot s is token s % PAGE_SIZE of page s // PAGE_SIZE."""
    return table[position // PAGE_SIZE] * PAGE_SIZE + position % PAGE_SIZE


class PagePool:
    """Counts who holds each of `count` pages, and knows what the registered ones contain.

    A page is free, or held by one table or more, or kept: registered and held by none, so that it can be found again
    until its place is needed. A page that others hold too, or that is registered, must not be written.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._free = list(range(count - 1, -1, -1))
        self._holders = [0] * count
        self._kept: OrderedDict[int, None] = OrderedDict()  # longest unused first
        self._by_key: dict[bytes, int] = {}
        self._keys: dict[int, bytes] = {}
        self._owners: dict[bytes, str] = {}  # of registered pages, by their keys: who computed them
        self._found: OrderedDict[bytes, None] = OrderedDict()  # keys of registered pages; those found last at the end

    @property
    def available(self) -> int:
        """The number of pages that can be taken: free ones and kept ones."""
        return len(self._free) + len(self._kept)

    def holders(self, page: int) -> int:
        """The number of tables that hold the page."""
        return self._holders[page]

    def freed(self, tables: Iterable[Sequence[int]]) -> int:
        """The number of pages that nobody else would hold if these tables let go of theirs."""
        held = Counter(page for table in tables for page in table)
        return sum(self._holders[page] == count for page, count in held.items())

    def grow(self, table: list[int], length: int) -> None:
        """Give `table` room for `length` positions. Raises OutOfPages."""
        lacking = pages_for(length) - len(table)
        if lacking > self.available:
            raise OutOfPages(f"{lacking} pages are needed and {self.available} can be had")
        table.extend(self.take() for _ in range(lacking))

    def shrink(self, table: list[int], length: int) -> None:
        """Let go of the pages that `length` positions do not need, the last first: of a prefix, its end is missed least."""
        needed = pages_for(length)
        while len(table) > needed:
            self.drop(table.pop())

    def take(self) -> int:
        """A page that nobody else holds, to be written. Raises OutOfPages."""
        if self._free:
            page = self._free.pop()
        elif self._kept:
            page, _ = self._kept.popitem(last=False)
            self._forget(page)
        else:
            raise OutOfPages("every page is held")
        self._holders[page] = 1
        return page

    def drop(self, page: int) -> None:
        """One holder less."""
        self._holders[page] -= 1
        if self._holders[page]:
            return
        if page in self._keys:
            self._kept[page] = None
        else:
            self._free.append(page)

    def claim(self, page: int) -> bool:
        """Whether the page's holder is the only one and may write it; from now on nobody finds it any more."""
        if self._holders[page] > 1:
            return False
        if page in self._keys:
            self._forget(page)
        return True

    def register(self, page: int, key: bytes, owner: str) -> None:
        """Let a full, computed page of `owner` be found by `key`; nothing happens when another is found by it already."""
        if key not in self._by_key and page not in self._keys:
            self._by_key[key] = page
            self._keys[page] = key
            self._owners[key] = owner

    def share(self, key: bytes) -> int | None:
        """The page registered under `key`, with one holder more, or None."""
        page = self._by_key.get(key)
        if page is not None:
            self._holders[page] += 1
            self._kept.pop(page, None)
        return page

    def found(self, keys: Sequence[bytes], by: str | None) -> None:
        """Note that the registered pages of those keys, the first of a text, were found by somebody; what an owner finds is not noted."""
        for key in reversed(keys):  # a page is of no use without those before it
            if key in self._found or self._owners[key] != by:
                self._found[key] = None
                self._found.move_to_end(key)

    def last_found(self, most: int) -> list[tuple[bytes, int]]:
        """Key and page of those that were found last, the last first."""
        return [(key, self._by_key[key]) for key in islice(reversed(self._found), most)]

    def _forget(self, page: int) -> None:
        key = self._keys.pop(page)
        del self._by_key[key]
        del self._owners[key]
        self._found.pop(key, None)

    def check_integrity(self, tables: Sequence[list[int]]) -> None:
        """Raise AssertionError unless every page is free, kept, or held by just as many of `tables` as it counts."""
        held = Counter(page for table in tables for page in table)
        assert all(held[page] == holders for page, holders in enumerate(self._holders)), "holders are miscounted"
        pages = sorted([*self._free, *self._kept, *held])
        assert pages == list(range(self.count)), "free, kept and held pages are not all pages, once each"
        assert self._keys == {page: key for key, page in self._by_key.items()}, "keys and pages disagree"
        assert not self._keys.keys() & set(self._free), "a free page is registered"
        assert self._found.keys() <= self._by_key.keys(), "a found page is not registered"
        assert self._kept.keys() <= self._keys.keys(), "a kept page is not registered"
