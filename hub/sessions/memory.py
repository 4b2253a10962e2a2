"""The sessions' K/V in pages: a common beginning is computed once and held by all, and copied by who writes into it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from hub.kv.pages import PAGE_SIZE, OutOfPages, PagePool, page_key, pages_for
from hub.sessions.session import HubSession, SessionKey


class PageStore(Protocol):
    """What the pages hold."""

    def copy_page(self, source: int, destination: int) -> None:
        """Copy K/V of one page to another."""

    def clear(self, pages: Sequence[int]) -> None:
        """Make what the pages hold zero."""


class KVMemory:
    """Gives sessions their pages. Between forwards positions [0, computed) of a session lie in its pages."""

    def __init__(
        self,
        pool: PagePool,
        store: PageStore,
        group: Callable[[SessionKey], bytes | None],
    ) -> None:
        """`store` has what the pages of `pool` hold; sessions of one `group` share pages, those without one none."""
        self.pool = pool
        self._store = store
        self._group = group

    def adopt(self, session: HubSession) -> int:
        """Take over what others have computed of the session's beginning; the number of ids.

        The last id is always left: it is to be fed for its logits.
        """
        if session.computed % PAGE_SIZE or self._group(session.key) is None:
            return 0
        before = session.computed
        self.pool.shrink(session.kv.pages, before)
        keys = self.keys(session, session.committed - 1)
        for key in keys[before // PAGE_SIZE :]:
            page = self.pool.share(key)
            if page is None:
                break
            session.kv.pages.append(page)
            session.fed(session.computed + PAGE_SIZE)
        if session.computed > before:
            self.pool.found(keys[before // PAGE_SIZE : session.computed // PAGE_SIZE], by=session.key.node)
        return session.computed - before

    def has_room(self, session: HubSession, length: int, victims: Sequence[HubSession]) -> bool:
        """Whether `reserve` would find its pages once `victims` had let go of theirs."""
        kept = session.kv.pages[: pages_for(session.computed)]
        needed = pages_for(length) - len(kept)
        if session.computed % PAGE_SIZE:
            others = self.pool.holders(kept[-1]) - 1 - sum(kept[-1] in victim.kv.pages for victim in victims)
            needed += others > 0  # a page that others go on holding is copied
        return needed <= self.pool.available + self.pool.freed([victim.kv.pages for victim in victims])

    def reserve(self, session: HubSession, length: int) -> bool:
        """Pages for [0, length), of which [computed, length) may be written. False when there are too few; try again once there are more."""
        self.pool.shrink(session.kv.pages, session.computed)
        try:
            if session.computed % PAGE_SIZE:
                self._own(session.kv.pages)
                session.kv.void(session.computed)
            before = len(session.kv.pages)
            self.pool.grow(session.kv.pages, length)
        except OutOfPages:
            return False
        if new := session.kv.pages[before:]:
            self._store.clear(
                new
            )  # a masked position still counts when it holds NaN, which another session may have left
        return True

    def offer(self, session: HubSession) -> None:
        """Let others find the session's full pages."""
        keys = self.keys(session, session.computed)
        for page, key in zip(session.kv.pages[session.kv.offered :], keys[session.kv.offered :], strict=False):
            self.pool.register(page, key, owner=session.key.node)
        session.kv.offered = len(keys)

    def release(self, session: HubSession) -> None:
        """Let go of all pages; the session's ids are to be computed anew."""
        session.kv.void(0)
        self.pool.shrink(session.kv.pages, 0)

    def discard(self, session: HubSession) -> None:
        """Let go of all pages, and let nobody find those any more that nobody else holds: what they hold is of no use."""
        for page in session.kv.pages:
            self.pool.claim(page)
        self.release(session)

    def keys(self, session: HubSession, length: int) -> list[bytes]:
        """The keys of the pages that [0, length) fills; none for a session without a group."""
        group = self._group(session.key)
        if group is None:
            return []
        known, ids = session.kv.keys, session.transcript.ids
        for page in range(len(known), length // PAGE_SIZE):
            parent = known[-1] if known else group
            known.append(page_key(parent, ids[page * PAGE_SIZE : (page + 1) * PAGE_SIZE]))
        return known[: length // PAGE_SIZE]

    def _own(self, pages: list[int]) -> None:
        """Make sure that the last of `pages` may be written: by a copy, if others hold it."""
        shared = pages[-1]
        if self.pool.claim(shared):
            return
        copy = self.pool.take()
        self._store.copy_page(shared, copy)
        pages[-1] = copy
        self.pool.drop(shared)
