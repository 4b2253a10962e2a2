"""Who loses pages for others in one forward, and in which order."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator

from hub.sessions.session import HubSession


class Givers:
    """Idle sessions, the longest silent first, then those in the middle of an answer: the lowest class first, and in it the latest begun.

    They are put in order when the first is asked for, and once: with thousands of sessions whose pages have to go round,
    hundreds of rows ask in each forward.
    """

    def __init__(self, sessions: Iterable[HubSession], is_idle: Callable[[HubSession], bool]) -> None:
        """`sessions`, the longest silent first."""
        self.is_idle = is_idle
        self._sessions = sessions
        self._order: list[HubSession] | None = None
        self._idle = 0  # as many of them are idle
        self._first = 0  # before it are only those that have nothing to give any more

    def of(self, session: HubSession, planned: Collection[HubSession]) -> Iterator[HubSession]:
        """Who may lose their pages for the session. Those in the middle of an answer that goes before its own do not."""
        order = self._ordered()
        while self._first < len(order) and not self._may_give(order[self._first], planned):
            self._first += 1
        for place in range(self._first, len(order)):
            other = order[place]
            if place >= self._idle and other.precedence <= session.precedence:
                return
            if other is not session and self._may_give(other, planned):
                yield other

    def _ordered(self) -> list[HubSession]:
        if self._order is None:
            idle: list[HubSession] = []
            others: list[HubSession] = []
            for session in self._sessions:
                if session.kv.pages:
                    (idle if self.is_idle(session) else others).append(session)
            self._idle = len(idle)
            self._order = idle + sorted(others, key=lambda s: s.precedence, reverse=True)
        return self._order

    @staticmethod
    def _may_give(session: HubSession, planned: Collection[HubSession]) -> bool:
        return bool(session.kv.pages) and session not in planned
