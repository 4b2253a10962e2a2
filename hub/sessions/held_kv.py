"""The K/V that one session holds: its pages, how far they are computed, and what of them others can find."""

from __future__ import annotations

from hub.kv.pages import PAGE_SIZE


class HeldKV:
    """K/V of ids [0, computed) are valid in `pages`. `KVMemory` gives and takes the pages; nobody else does."""

    def __init__(self) -> None:
        self.computed = 0
        self.pages: list[int] = []  # position p lies in pages[p // PAGE_SIZE]
        self.keys: list[bytes] = []  # keys of the leading full pages of the text, as far as they were needed
        self.offered = 0  # number of leading pages that others can find

    def reach(self, end: int) -> None:
        """K/V of ids [0, end) are valid from now on."""
        self.computed = end

    def void(self, length: int) -> None:
        """K/V past `length` ids are to be computed anew; the ids themselves stay."""
        self.computed = min(self.computed, length)
        self.offered = min(self.offered, self.computed // PAGE_SIZE)

    def truncate(self, length: int) -> None:
        """The text ends at `length` ids: K/V past it are void, and so are the keys of its pages."""
        self.void(length)
        del self.keys[length // PAGE_SIZE :]
