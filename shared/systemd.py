"""What a program tells systemd, if systemd runs it: sd_notify(3)."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Callable

log = logging.getLogger(__name__)

READY, STOPPING = "READY=1", "STOPPING=1"
_ALIVE = "WATCHDOG=1"
_BEAT_S = 1.0  # seconds between two signs of life


def notify(*states: str) -> None:
    """Tell the supervisor; without one nothing happens."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.connect("\0" + address[1:] if address.startswith("@") else address)
            sender.send("\n".join(states).encode())
    except OSError as error:
        log.warning("systemd cannot be told %s: %s", " ".join(states), error)


class Heartbeat:
    """Signs of life for systemd's watchdog, from the very loop that works: one that hangs is started anew."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._told_at = -_BEAT_S

    def beat(self) -> None:
        """Once around the loop; to be called often."""
        now = self._clock()
        if now >= self._told_at + _BEAT_S:
            self._told_at = now
            notify(_ALIVE)
