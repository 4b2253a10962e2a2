"""The hub's `stats`, which the broker keeps: told once a second, and never more often, whoever has something to announce."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable

_EVERY_S = 1.0


class StatsTopic:
    """For any thread: the one that tells in turn, and the MQTT client's, which tells at each new connection."""

    def __init__(self, publish: Callable[[], bool], clock: Callable[[], float] = time.monotonic) -> None:
        """`publish` returns whether there was a connection to publish on."""
        self._publish, self._clock = publish, clock
        self._told_at = -math.inf
        self._telling = threading.Lock()

    def tell(self) -> None:
        """Publish, unless that was done within the last second: then it is soon done in turn."""
        with self._telling:
            if self._clock() >= self._told_at + _EVERY_S and self._publish():
                self._told_at = self._clock()

    @property
    def wait_s(self) -> float:
        """Seconds after which to tell again."""
        left_s = self._told_at + _EVERY_S - self._clock()
        return left_s if left_s > 0 else _EVERY_S

    @property
    def age_s(self) -> float:
        """Seconds since they were told last; infinite before the first time."""
        return self._clock() - self._told_at
