"""What of an answer is to be spoken, while it grows: the lines that are no calls, and where its sentences end."""

from __future__ import annotations

import re

_SENTENCE_END = re.compile(r"[.!?…]+[\"'\u201d\u2019)\]]*(?=\s)|[\u3002\uff01\uff1f]|\n")
_AFTER_LINE = re.compile(r"(?<=\n)")


class Speech:
    """Takes an answer piece by piece."""

    def __init__(self, *, has_calls: bool = True, holds: bool = False) -> None:
        """Without calls all lines are spoken, whatever they begin with. With `holds` none is that stands behind a call."""
        self._has_calls, self.holds = has_calls, holds
        self._called = False  # whether there was a call
        self.text = ""  # what is to be spoken so far
        self.sentences = 0  # characters of it that are whole sentences
        self._in_call: bool | None = None  # of the line under way; None while it has no character

    def take(self, piece: str) -> tuple[str, str]:
        """What a piece of the answer adds to what is shown, and to what of it is spoken."""
        before, shown = len(self.text), ""
        for line in filter(None, _AFTER_LINE.split(piece)):
            if self._in_call is None:
                self._in_call = self._has_calls and line.startswith("{")
            self._called = self._called or self._in_call
            if self._in_call or not (self.holds and self._called):
                shown += line
                self.text += "" if self._in_call else line
            if line.endswith("\n"):
                self._in_call = None
        for end in _SENTENCE_END.finditer(self.text, self.sentences):
            self.sentences = end.end()
        return shown, self.text[before:]

    def finish(self, also: str = "") -> None:
        """The answer is complete, and so is its last sentence; `also` is spoken behind it."""
        self.text += also
        self.sentences = len(self.text)
