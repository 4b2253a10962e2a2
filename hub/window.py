"""The batch window: how long a batch waits for sessions that are in the middle of an answer."""

from __future__ import annotations

from collections.abc import Iterable

from hub.session import SessionKey

_PATIENCE_S = 0.1  # a session that has not submitted for so long is thinking, not drafting: nobody waits for it


class Window:
    """Closes when `length_s` is over or when every session that is expected to submit has done so."""

    def __init__(self, length_s: float) -> None:
        self.length_s = length_s
        self._expected: dict[SessionKey, float] = {}  # until when each session's next draft is waited for

    def expect(self, key: SessionKey, now: float) -> None:
        """A verdict went out to the session: its next draft should come soon."""
        self._expected[key] = now + _PATIENCE_S

    def submitted(self, keys: Iterable[SessionKey]) -> None:
        """These sessions need not be waited for any more."""
        for key in keys:
            self._expected.pop(key, None)

    def remaining(self, closes_at: float, now: float) -> float:
        """Seconds for which it is worth waiting for another draft; 0 when the window is closed."""
        self._expected = {key: until for key, until in self._expected.items() if until > now}
        if not self._expected:
            return 0.0
        return max(0.0, min(closes_at, max(self._expected.values())) - now)
