"""What can measure the energy of a machine, or of a part of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

_MOST_BYTES = 64  # of a file with a number


class NoEnergy(Exception):
    """Nothing is measured here. The sentence says why."""


class Source(Protocol):
    """Counts joules."""

    name: str

    def joules(self) -> float:
        """Since the source was made. Raises NoEnergy where it can't be read any more."""


class OfWatts:
    """Joules of what is only known in watts: by its mean between two looks, and as it was last behind them."""

    def __init__(
        self, name: str, watts: Callable[[], float], pause_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`watts` is asked once in `pause_s` seconds at most, as it takes time itself. Raises NoEnergy where it does."""
        self.name = name
        self._ask, self._pause_s, self._clock = watts, pause_s, clock
        self._joules = 0.0
        self._watts, self._at = watts(), clock()

    def joules(self) -> float:
        """Since it was made. To be asked every few seconds. Raises NoEnergy."""
        now = self._clock()
        if now - self._at >= self._pause_s:
            watts = self._ask()
            self._joules += (self._watts + watts) / 2 * (now - self._at)
            self._watts, self._at = watts, now
        return self._joules + self._watts * (now - self._at)


def number_in(file: Path) -> int:
    """The whole number in a file of the kernel's. Raises NoEnergy."""
    try:
        with file.open("rb") as opened:
            return int(opened.read(_MOST_BYTES))
    except PermissionError:
        raise NoEnergy(f"{file} may not be read by this user") from None
    except (OSError, ValueError) as error:
        raise NoEnergy(f"{file} has no number: {error}") from None


def word_in(file: Path) -> str:
    """The word in a file of the kernel's; nothing where there is none."""
    try:
        with file.open("rb") as opened:
            return opened.read(_MOST_BYTES).decode(errors="replace").strip()
    except OSError:
        return ""
