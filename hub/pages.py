"""Pages: fixed-size blocks of token slots of the KV cache, which sessions hold in tables and give back."""

from __future__ import annotations

from dataclasses import dataclass, field

PAGE_SIZE = 16  # token slots of one page


class OutOfPages(Exception):
    """Fewer free pages than asked for; nothing was taken."""


@dataclass
class PageTable:
    """The pages of one session, in order: position p lies in pages[p // PAGE_SIZE]."""

    pages: list[int] = field(default_factory=list)

    def slots(self, length: int) -> list[int]:
        """The slots of positions [0, length)."""
        slots = [page * PAGE_SIZE + offset for page in self.pages for offset in range(PAGE_SIZE)]
        return slots[:length]


class PagePool:
    """Hands out `count` pages and knows which are free. Free and held pages together are always all of them."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._free = list(range(count - 1, -1, -1))

    @property
    def free(self) -> int:
        """The number of free pages."""
        return len(self._free)

    def grow(self, table: PageTable, length: int) -> None:
        """Give `table` room for `length` positions. Raises OutOfPages."""
        lacking = -(-length // PAGE_SIZE) - len(table.pages)
        if lacking > len(self._free):
            raise OutOfPages(f"{lacking} pages are needed and {len(self._free)} are free")
        for _ in range(lacking):
            table.pages.append(self._free.pop())

    def shrink(self, table: PageTable, length: int) -> None:
        """Take back the pages that `length` positions do not need."""
        needed = -(-length // PAGE_SIZE)
        self._free.extend(reversed(table.pages[needed:]))
        del table.pages[needed:]

    def check_integrity(self, tables: list[PageTable]) -> None:
        """Raise AssertionError unless every page is either free or held by exactly one of `tables`."""
        pages = sorted([*self._free, *(page for table in tables for page in table.pages)])
        assert pages == list(range(self.count)), "free and held pages are not all pages, once each"
