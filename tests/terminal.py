"""A pseudo terminal with a program in it."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import signal
import struct
import termios
import time
from collections.abc import Callable, Mapping
from types import MappingProxyType

from tests.processes import start_as_in_a_terminal
from tools.demo import node_command
from tools.rig.testbed import HubBed

_PIECE = re.compile(r"\x1b\[([0-?]*)[ -/]*([@-~])|\x1b\][^\x07]*\x07|\x1b.|[\r\n\x08]|[^\x1b\r\n\x08]+", re.DOTALL)
NOTHING: Mapping[str, str] = MappingProxyType({})


class Terminal:
    """A chat in a terminal of its own."""

    def __init__(
        self, bed: HubBed, name: str, *options: str, columns: int = 80, env: Mapping[str, str] = NOTHING
    ) -> None:
        self.raw = b""  # all that came
        self._seen = 0  # characters of what is shown that were waited for
        self._master, slave = pty.openpty()
        self.resize(columns)
        command = node_command(bed.broker.settings(name), name, "chat", *options)
        # Nothing here answers an editor's question where the cursor is.
        own = {"TERM": "xterm-256color", "PROMPT_TOOLKIT_NO_CPR": "1"}
        environment = {key: value for key, value in os.environ.items() if key not in {"COLUMNS", "LINES", "NO_COLOR"}}
        self.process = start_as_in_a_terminal(
            command, stdin=slave, stdout=slave, stderr=slave, env={**environment, **own, **env}
        )
        os.close(slave)
        os.set_blocking(self._master, False)

    @property
    def shown(self) -> str:
        """What stands in the terminal behind what was waited for."""
        return self._text()[self._seen :]

    def wait_for(self, text: str) -> str:
        """Read until `text` comes; what came before it is returned, what comes behind it left for the next call."""
        self.wait_until(lambda shown: text in shown)
        before, _, _ = self.shown.partition(text)
        self._seen += len(before) + len(text)
        return before

    def wait_until(self, satisfied: Callable[[str], bool]) -> None:
        deadline = time.monotonic() + 30.0
        while not satisfied(self.shown):
            assert time.monotonic() < deadline, f"what was waited for never came:\n{self._text()}"
            try:
                self.raw += os.read(self._master, 4096)
            except (BlockingIOError, OSError):
                time.sleep(0.02)

    def ready(self) -> str:
        """Wait for the prompt; what came before it."""
        return self.wait_for("\n>")

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def say(self, text: str) -> str:
        """Type a line, and wait for the next prompt; what came between."""
        self.type(text)
        self.wait_for(text[:20])
        self.type("\r")
        return self.ready()

    def resize(self, columns: int) -> None:
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))

    def interrupt(self) -> None:
        """As another process does; a Ctrl-C that is typed is "\\x03"."""
        os.killpg(self.process.pid, signal.SIGINT)

    def end(self) -> int:
        status = self.process.wait(20)
        os.close(self._master)
        return status

    def _text(self) -> str:
        return on_screen(self.raw.decode(errors="replace"))


def on_screen(raw: str) -> str:
    """What stands in a terminal, endless in width and height, after that output; without spaces at the ends of lines."""
    lines = [""]
    x = y = 0
    for piece in _PIECE.finditer(raw):
        text, count = piece[0], int(piece[1]) if (piece[1] or "").isdecimal() else 0
        match piece[2] or text:
            case "\r":
                x = 0
            case "\n":
                y += 1
            case "\x08" | "D":
                x -= max(1, count)
            case "A":
                y -= max(1, count)
            case "B":
                y += max(1, count)
            case "C":
                x += max(1, count)
            case "K":
                lines[y] = lines[y][:x] if count == 0 else ""
            case "J":
                lines[y:] = [lines[y][:x]]
            case _ if not text.startswith("\x1b"):
                lines[y] = f"{lines[y]:<{x}}"[:x] + text + lines[y][x + len(text) :]
                x += len(text)
        lines += [""] * (y + 1 - len(lines))
    return "\n".join(line.rstrip() for line in lines)
