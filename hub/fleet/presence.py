"""Whether a program lives, as far as can be told from what comes of it and what the broker had kept."""

from __future__ import annotations

from enum import Enum


class State(Enum):
    """What is known of a program's life."""

    ONLINE = "online"  # it says so, and was heard lately
    SILENT = "silent"  # it said so, and has missed a word that it would have said by now
    OFFLINE = "offline"  # it has said that it ends, or the broker has published its last will


class Presence:
    """Of one program that says something every few seconds.

    What the broker had kept is believed for so long: it may be of a program that has lost its power years ago, along with the broker.
    """

    def __init__(self, silent_s: float) -> None:
        """Without a word for `silent_s` seconds a program is silent."""
        self.heard = False
        """Whether any of it came while somebody listened."""
        self._silent_s = silent_s
        self._online = False
        self._heard_at = 0.0
        self._left_at: float | None = None

    def note(self, now: float, *, online: bool | None, kept: bool) -> None:
        """A word has come, or the broker had `kept` it; `online` is what it tells of the program's life, None for nothing."""
        if not kept:
            self.heard = True
        if not (kept and self.heard):
            self._heard_at = now
        if online is False and self._online:
            self._left_at = None if kept else now
        if online is not None:
            self._online = online

    def state(self, now: float) -> State:
        """What is known now."""
        if not self._online:
            return State.OFFLINE
        return State.SILENT if now - self._heard_at > self._silent_s else State.ONLINE

    def gone_s(self, now: float) -> float | None:
        """Seconds since one that is silent was heard, or one that is offline has left; None where that was before anybody listened."""
        if not self._online:
            return None if self._left_at is None else now - self._left_at
        return now - self._heard_at if self.heard else None
