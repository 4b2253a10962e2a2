"""Reading and computing in turns, while much of what comes is dropped."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

_GATHER_S = 0.002  # seconds for which messages gather at least: each waking costs more than a message
_LONGEST_S = 0.03  # seconds that a reader waits for its turn at most
_READING_S = 0.005  # seconds that the engine waits for the reader at most


class Turns:
    """Lets the MQTT client's thread read between two forwards instead of in them.

    A forward is hundreds of operations, which each give up the interpreter's lock. Measured with the built-in pair on two
    cores, one of 21 ms lasts 25 to 29 ms while another thread wakes every 2 ms and takes the lock each time. What comes in a
    forward is not looked at before its end anyway.
    """

    def __init__(self) -> None:
        self._collecting = threading.Event()
        self._waits = False
        self._has_read = threading.Event()

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Wait for the turn of the reading thread, which lasts while the context does."""
        time.sleep(_GATHER_S)
        self._waits = True
        self._collecting.wait(_LONGEST_S)
        self._waits = False
        try:
            yield
        finally:
            self._has_read.set()

    def await_pause(self, longest_s: float) -> None:
        """Wait until no forward is computed, at most so long. For any thread whose work can be put off."""
        self._collecting.wait(longest_s)

    def collect(self) -> None:
        """From now on messages are read; returns when those are that have gathered."""
        self._has_read.clear()
        self._collecting.set()
        if self._waits:
            self._has_read.wait(_READING_S)

    def compute(self) -> None:
        """From now on messages gather."""
        self._collecting.clear()
