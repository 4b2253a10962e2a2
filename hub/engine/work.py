"""Which sessions have work for the next forward, and since when."""

from __future__ import annotations

from collections.abc import Collection

from hub.sessions.book import SessionBook
from hub.sessions.service_classes import ServiceClass
from hub.sessions.session import HubSession

_OF_LATE_S = 2.0  # seconds since a node had work


class Work:
    """Sessions come in by `note` and fall out by themselves: whoever has no work any more, or is closed, is never listed."""

    def __init__(self, book: SessionBook) -> None:
        self._book = book
        self._since: dict[HubSession, float] = {}
        self._at_node: dict[str, float] = {}

    def note(self, session: HubSession, at: float) -> None:
        """The session may have work, which came at that time (`time.monotonic`)."""
        self._since[session] = at
        self._at_node[session.key.node] = at

    def since(self, session: HubSession) -> float:
        """When the session's work came; for a session that `sessions` lists."""
        return self._since[session]

    def sessions(self) -> list[HubSession]:
        """The sessions with work, in the order in which they came to have it."""
        self._since = {s: at for s, at in self._since.items() if s.has_work and self._book.holds(s)}
        return list(self._since)

    def nodes(self, now: float) -> Collection[str]:
        """The nodes whose sessions had work of late."""
        self._at_node = {node: at for node, at in self._at_node.items() if now - at < _OF_LATE_S}
        return self._at_node.keys()

    def ahead_of(self, service_class: ServiceClass) -> int:
        """The number of sessions with work that a new one of that class would have before it."""
        return sum(session.service_class <= service_class for session in self.sessions())

    def __len__(self) -> int:
        return len(self.sessions())
