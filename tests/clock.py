"""A clock that a test moves, for what is about time and not about this machine."""

from __future__ import annotations


class Clock:
    """Seconds that pass only by `sleep` and `reach`."""

    def __init__(self, now: float = 0.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def reach(self, at: float) -> None:
        self.now = max(self.now, at)
