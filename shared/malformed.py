"""Frames that cannot be read or do not belong where they came: counted all, and logged seldom."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

_REPORT_EVERY_S = 60.0  # seconds between two lines of the log


class MalformedFrames:
    """The log has a line about the first one, and then about all that came within a minute.

    Several threads may come here. Where they do so at once a frame may go uncounted, which is less bad than a lock for each.
    """

    def __init__(self, log: logging.Logger, clock: Callable[[], float] = time.monotonic) -> None:
        self.count = 0
        self._log, self._clock = log, clock
        self._reported = 0
        self._reported_at = -_REPORT_EVERY_S

    def note(self, topic: str, error: Exception) -> None:
        """Count a frame that came on `topic`."""
        self.count += 1
        now = self._clock()
        if now - self._reported_at >= _REPORT_EVERY_S:
            more, self._reported, self._reported_at = self.count - self._reported, self.count, now
            self._log.warning("malformed frames: %d more, the last on %s: %s", more, topic[:200], str(error)[:200])
