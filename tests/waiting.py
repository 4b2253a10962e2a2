"""Waiting for what other threads and programs bring about."""

from __future__ import annotations

import time
from collections.abc import Callable


def wait_until(satisfied: Callable[[], object], seconds: float = 20.0) -> None:
    """Return once `satisfied` gives something true. Raises AssertionError when it does not in time."""
    deadline = time.monotonic() + seconds
    while not satisfied():
        assert time.monotonic() < deadline, "what was waited for never came"
        time.sleep(0.01)
