"""Which sessions have work for the next forward, and since when."""

from __future__ import annotations

from hub.sessions.book import SessionBook
from hub.sessions.session import HubSession


class Work:
    """Sessions come in by `note` and fall out by themselves: whoever has no work any more, or is closed, is never listed."""

    def __init__(self, book: SessionBook) -> None:
        self._book = book
        self._since: dict[HubSession, float] = {}

    def note(self, session: HubSession, at: float) -> None:
        """The session may have work, which came at that time (`time.monotonic`)."""
        self._since[session] = at

    def since(self, session: HubSession) -> float:
        """When the session's work came; for a session that `sessions` lists."""
        return self._since[session]

    def sessions(self) -> list[HubSession]:
        """The sessions with work, in the order in which they came to have it."""
        self._since = {s: at for s, at in self._since.items() if s.has_work and self._book.holds(s)}
        return list(self._since)

    @property
    def nodes(self) -> set[str]:
        """The nodes of the sessions that were noted, or listed last."""
        return {session.key.node for session in self._since}

    def __len__(self) -> int:
        return len(self.sessions())
