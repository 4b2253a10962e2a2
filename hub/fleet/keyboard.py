"""Keys as they are pressed, while the terminal shows none of them."""

from __future__ import annotations

import os
import select
import sys
import termios
import time
import tty
from collections.abc import Iterator
from contextlib import contextmanager

SUSPEND = "\x1a"  # Ctrl-Z, which is a key here: the screen is left before the program stops
_ESCAPE = b"\x1b"
GONE = "\x04"  # Ctrl-D, and a terminal that is not there any more


class Keyboard:
    """Where standard input is no terminal no key is ever pressed."""

    def __init__(self) -> None:
        self._terminal = sys.stdin.fileno() if sys.stdin.isatty() else None

    @contextmanager
    def unechoed(self) -> Iterator[Keyboard]:
        """Inside, keys come as they are pressed."""
        if self._terminal is None:
            yield self
            return
        before = termios.tcgetattr(self._terminal)
        try:
            tty.setcbreak(self._terminal)
            now = termios.tcgetattr(self._terminal)
            now[6][termios.VSUSP] = b"\0"  # no key stops the program
            termios.tcsetattr(self._terminal, termios.TCSANOW, now)
            yield self
        finally:
            termios.tcsetattr(self._terminal, termios.TCSADRAIN, before)

    def pressed(self, within_s: float) -> str:
        """The characters that are typed within so many seconds; none for keys that are no characters, such as arrows."""
        if self._terminal is None:
            time.sleep(within_s)
            return ""
        if not select.select([self._terminal], [], [], within_s)[0]:
            return ""
        try:
            typed = os.read(self._terminal, 64)
        except OSError:
            return GONE
        return "" if typed.startswith(_ESCAPE) else typed.decode(errors="replace") or GONE
