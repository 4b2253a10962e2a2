"""The open sessions: who may open one, which give way, and the pages they hold."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Iterator

from hub.pages import OutOfPages, PagePool
from hub.session import HubSession, Limits, SessionKey

log = logging.getLogger(__name__)


class SessionBook:
    """Sessions in the order in which they were last heard of, the longest silent first."""

    def __init__(self, limits: Limits, pool: PagePool, *, max_sessions: int, max_per_node: int, ttl_s: float) -> None:
        self.evicted = 0
        self._limits = limits
        self._pool = pool
        self._max_sessions = max_sessions
        self._max_per_node = max_per_node
        self._ttl_s = ttl_s
        self._sessions: OrderedDict[SessionKey, HubSession] = OrderedDict()
        self._heard: dict[SessionKey, float] = {}

    def __len__(self) -> int:
        return len(self._sessions)

    def __iter__(self) -> Iterator[HubSession]:
        return iter(self._sessions.values())

    def open(self, key: SessionKey, now: float) -> bool:
        """Open a session, or find it open; idle ones give way. False when there is no room."""
        if key not in self._sessions:
            of_node = [s for s in self if s.key.node == key.node]
            crowded = of_node if len(of_node) >= self._max_per_node else list(self)
            if len(of_node) >= self._max_per_node or len(self) >= self._max_sessions:
                idle = next((s for s in crowded if not s.has_work), None)
                if idle is None:
                    return False
                self._evict(idle)
            self._sessions[key] = HubSession(key, self._limits)
        self._touch(key, now)
        return True

    def find(self, key: SessionKey, now: float) -> HubSession | None:
        """The session, noted as heard of now; None when it is unknown or was evicted."""
        if key not in self._sessions:
            return None
        self._touch(key, now)
        return self._sessions[key]

    def close(self, key: SessionKey) -> None:
        """Forget a session and free its pages; unknown ones are no error."""
        session = self._sessions.pop(key, None)
        self._heard.pop(key, None)
        if session is not None:
            self._pool.shrink(session.pages, 0)

    def give_room(self, session: HubSession, length: int) -> bool:
        """Pages for exactly `length` positions, evicting idle sessions, longest silent first. False when there are too few."""
        self._pool.shrink(session.pages, length)
        while True:
            try:
                self._pool.grow(session.pages, length)
                return True
            except OutOfPages:
                idle = next((s for s in self if s is not session and not s.has_work and s.pages.pages), None)
                if idle is None:
                    return False
                self._evict(idle)

    def expire(self, now: float) -> None:
        """Forget sessions that have been silent for longer than their time to live."""
        while self._sessions:
            key, session = next(iter(self._sessions.items()))
            if now - self._heard[key] < self._ttl_s:
                return
            self._evict(session)

    def check_integrity(self) -> None:
        """Raise AssertionError unless every page is free or held by exactly one session."""
        self._pool.check_integrity([session.pages for session in self])
        for session in self:
            assert session.computed <= session.committed <= self._limits.context

    def _touch(self, key: SessionKey, now: float) -> None:
        self._heard[key] = now
        self._sessions.move_to_end(key)

    def _evict(self, session: HubSession) -> None:
        log.info("session %s of %s evicted", session.key.id.hex()[:8], session.key.node)
        self.evicted += 1
        self.close(session.key)
