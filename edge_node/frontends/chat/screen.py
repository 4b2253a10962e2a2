"""The terminal, or the file or pipe in its place: text as it comes, lines of the program's own, and what is waited for."""

from __future__ import annotations

import sys
import unicodedata

from rich.console import Console
from rich.status import Status
from rich.text import Text

from shared.program import sentence
from shared.streams import put

DIM, RED, CALL = "dim", "red", "cyan"
_KEPT = "\t\n"
_TURNING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")  # they reorder what stands beside them


def harmless(text: str) -> str:
    """`text`, with everything escaped that would make a terminal do something else than show it."""
    if text.isprintable():
        return text
    return "".join(c if _shows(c) else c.encode("unicode_escape").decode() for c in text)


def _shows(character: str) -> bool:
    return character in _KEPT or (
        unicodedata.category(character) not in {"Cc", "Cs", "Zl", "Zp"} and character not in _TURNING
    )


class Screen:
    """Writes at one place at a time. Colours and what moves are for terminals that know them."""

    def __init__(self) -> None:
        # Whatever the environment asks for, a file or a pipe gets text alone.
        self._console = Console(highlight=False, markup=False, force_terminal=None if sys.stdout.isatty() else False)
        self._status: Status | None = None
        self.at_start = True  # whether the cursor is at the beginning of a line

    @property
    def width(self) -> int:
        """Columns."""
        return self._console.width

    @property
    def has_styles(self) -> bool:
        """Whether colours, or the styles that stand in for them, can be seen."""
        return self._console.is_terminal and not self._console.is_dumb_terminal

    def show(self, text: str, style: str = "") -> None:
        """Go on with `text` where the cursor is. The terminal breaks what is longer than its lines."""
        if text:
            self.settle()
            if style:
                self._console.print(Text(harmless(text), style), end="", soft_wrap=True)
            else:
                put(harmless(text))
            self.at_start = text.endswith("\n")

    def line(self, *parts: str | tuple[str, str], style: str = "") -> None:
        """A line of the program's own, of texts with and without a style of theirs, broken between words."""
        self.fresh()
        styled = ((part, "") if isinstance(part, str) else part for part in parts)
        text = Text.assemble(*((harmless(said), of_part) for said, of_part in styled), style=style)
        self._console.print(text, soft_wrap=not self._console.is_terminal)

    def fresh(self) -> None:
        """Go to the beginning of a line, if the cursor is in the middle of one."""
        self.settle()
        if not self.at_start:
            self.show("\n")

    def entered(self) -> None:
        """Somebody else has written last, and ended the line."""
        self.at_start = True

    def wait(self, what: str) -> None:
        """Let something move at the beginning of a line until there is something to show."""
        if not self.has_styles or not self.at_start:
            return
        text = Text(harmless(what), DIM)
        text.truncate(max(1, self.width - 4), overflow="ellipsis")
        if self._status is None:
            is_utf8 = self._console.encoding.startswith("utf")
            self._status = self._console.status(text, spinner="dots" if is_utf8 else "line")
            self._status.start()
        else:
            self._status.update(text)

    def waits_for(self, what: str) -> None:
        """Say what an answer waits for, "" when it goes on: in the moving line if there is one, else in one of its own."""
        said = f"waiting: {sentence(what)}" if what else "going on"
        if self._status is not None:
            self.wait(said)
        else:
            self.line(f"({said})", style=DIM)

    def settle(self) -> None:
        """End what moves."""
        status, self._status = self._status, None
        if status is not None:
            status.stop()
