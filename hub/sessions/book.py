"""The open sessions: who may open one, who gives way when memory or seats run out, and who is forgotten."""

from __future__ import annotations

import logging
from collections import Counter, OrderedDict
from collections.abc import Callable, Collection, Iterable, Iterator
from itertools import islice

from hub.sessions.acceptance import Acceptance
from hub.sessions.givers import Givers
from hub.sessions.memory import KVMemory
from hub.sessions.service_classes import ServiceClass, always_normal
from hub.sessions.session import HubSession, Limits, SessionKey

log = logging.getLogger(__name__)

_LOOKED_AT = (
    256  # sessions, the longest silent, among which one is found that gives way: thousands may ask for seats at once
)


class SessionBook:
    """Sessions in the order in which they were last heard of, the longest silent first."""

    def __init__(
        self,
        limits: Limits,
        memory: KVMemory,
        *,
        max_sessions: int,
        max_per_node: int,
        ttl_s: float,
        patience_s: float = 2.0,
        class_of: Callable[[str], ServiceClass] = always_normal,
    ) -> None:
        """Silent for `patience_s` in the middle of an answer, a session counts as idle; for `ttl_s`, it is forgotten. `class_of` tells a node's class."""
        self.limits = limits
        self.evicted = 0  # sessions forgotten for others or for their silence
        self.preempted = 0  # times that a session in the middle of an answer lost its pages
        self._memory = memory
        self._acceptance = Acceptance()  # of all sessions
        self._max_sessions = max_sessions
        self._max_per_node = max_per_node
        self._ttl_s = ttl_s
        self._patience_s = patience_s
        self._sessions: OrderedDict[SessionKey, HubSession] = OrderedDict()
        self._heard: dict[SessionKey, float] = {}
        self._of_node: Counter[str] = Counter()
        self.class_of = class_of
        self._of_class: Counter[ServiceClass] = Counter()

    def __len__(self) -> int:
        return len(self._sessions)

    def __iter__(self) -> Iterator[HubSession]:
        return iter(self._sessions.values())

    @property
    def nodes(self) -> int:
        """The number of nodes that have open sessions."""
        return len(self._of_node)

    def has_above(self, service_class: ServiceClass) -> bool:
        """Whether a session of a higher class is open."""
        return any(count for each, count in self._of_class.items() if each < service_class)

    def open(self, key: SessionKey, now: float) -> bool:
        """Open a session, or find it open; for it, one that `_to_give_way` finds is forgotten. False when there is no room."""
        if key not in self._sessions:
            node_is_full = self._of_node[key.node] >= self._max_per_node
            if node_is_full or len(self) >= self._max_sessions:
                crowd = (s for s in self if s.key.node == key.node) if node_is_full else iter(self)
                spared = self._to_give_way(crowd, now)
                if spared is None:
                    return False
                self._evict(spared)
            session = HubSession(key, self.limits, self._acceptance, self.class_of(key.node))
            self._sessions[key] = session
            self._of_node[key.node] += 1
            self._of_class[session.service_class] += 1
        self.hear(key, now)
        return True

    def get(self, key: SessionKey) -> HubSession | None:
        """The session; None when it is unknown or was evicted."""
        return self._sessions.get(key)

    def sessions_of(self, node: str) -> int:
        """The number of open sessions of a node."""
        return self._of_node.get(node, 0)

    def holds(self, session: HubSession) -> bool:
        """Whether the session is open still."""
        return self._sessions.get(session.key) is session

    def hear(self, key: SessionKey, now: float) -> HubSession | None:
        """The session, noted as heard of now; None when it is unknown or was evicted."""
        if key not in self._sessions:
            return None
        self._heard[key] = now
        self._sessions.move_to_end(key)
        return self._sessions[key]

    def close(self, key: SessionKey) -> None:
        """Forget a session and let go of its pages; unknown ones are no error."""
        session = self._sessions.pop(key, None)
        if session is None:
            return
        del self._heard[key]
        self._of_class[session.service_class] -= 1
        self._of_node[key.node] -= 1
        if not self._of_node[key.node]:
            del self._of_node[key.node]
        self._memory.release(session)

    def givers(self, now: float) -> Givers:
        """Who may lose their pages for one forward."""
        return Givers(self, lambda session: self._is_idle(session, now))

    def take_pages(
        self, session: HubSession, length: int, planned: Collection[HubSession], givers: Givers
    ) -> list[HubSession] | None:
        """Take pages for the session's next forward, up to position `length`, from other sessions if need be.

        `givers` are those of the same forward. Sessions already `planned` for it lose nothing. Ids are never lost: their K/V
        are computed anew when it is their session's turn. So the session with the oldest answer always gets its pages.
        Returns the sessions that lost theirs, or None, and nobody loses anything, when there are too few.
        """
        if self._memory.reserve(session, length):
            return []
        victims: list[HubSession] = []
        for victim in givers.of(session, planned):
            victims.append(victim)
            # Looked at for 1, 2, 4, 8, … victims: thousands may hold pages, and as a rule the first have enough.
            if len(victims).bit_count() == 1 and self._memory.has_room(session, length, victims):
                break
        else:
            if not self._memory.has_room(session, length, victims):
                return None
        for count, victim in enumerate(victims, start=1):
            self.preempted += not givers.is_idle(victim)
            self._memory.release(victim)
            if self._memory.reserve(session, length):
                return victims[:count]
        raise AssertionError("has_room promised pages that reserve did not find")

    def expire(self, now: float) -> None:
        """Forget sessions that have been silent for longer than their time to live."""
        while self._sessions:
            key, session = next(iter(self._sessions.items()))
            if now - self._heard[key] < self._ttl_s:
                return
            self._evict(session)

    def check_integrity(self) -> None:
        """Raise AssertionError unless every page is free, kept or held as counted, and sessions are within their limits."""
        self._memory.pool.check_integrity([session.kv.pages for session in self])
        for session in self:
            assert session.computed <= session.committed <= self.limits.context
        assert self._of_node == Counter(key.node for key in self._sessions), "sessions of a node are miscounted"
        assert self._heard.keys() == self._sessions.keys()

    def _to_give_way(self, crowd: Iterable[HubSession], now: float) -> HubSession | None:
        """Who loses its seat, of a crowd in the order of its silence: one that nobody waits for before one that is merely slow, one of a low class first.

        A session in the middle of an answer is given up only after `patience_s` of silence, however many ask for seats.
        """
        first = list(islice(crowd, _LOOKED_AT))
        resting = [s for s in first if s.rests] or [s for s in first if self._is_idle(s, now)]
        return max(resting, key=lambda s: s.service_class, default=None)

    def _is_idle(self, session: HubSession, now: float) -> bool:
        """Whether nobody waits for the session: no work, and not between two rounds of an answer."""
        return session.rests or (not session.has_work and now - self._heard[session.key] > self._patience_s)

    def _evict(self, session: HubSession) -> None:
        log.info("session %s of %s evicted", session.key.id.hex()[:8], session.key.node)
        self.evicted += 1
        self.close(session.key)
