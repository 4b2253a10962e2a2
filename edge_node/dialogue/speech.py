"""What of an answer is to be spoken, while it grows: the lines that are no calls, and where its sentences end."""

from __future__ import annotations

import re
from collections.abc import Iterable

from edge_node.dialogue.lines import AnswerLines, Part

_SENTENCE_END = re.compile(r"[.!?…]+[\"'\u201d\u2019)\]]*(?=\s)|[\u3002\uff01\uff1f]|\n")


class Speech:
    """Takes an answer piece by piece."""

    def __init__(self, *, has_calls: bool = True, holds: bool = False) -> None:
        """Without calls all lines are spoken, whatever they begin with. With `holds` nothing is spoken or shown that stands behind a call."""
        self._lines = AnswerLines(has_calls=has_calls)
        self.holds = holds
        self.is_doubted = False  # whether what is said of calls is not to be spoken, as they are not made
        self._called = False  # whether there was a call
        self.text = ""  # what is to be spoken so far
        self.sentences = 0  # characters of it that are whole sentences

    def take(self, piece: str) -> tuple[str, str]:
        """What a piece of the answer adds to what is shown, and to what is spoken."""
        shown, spoken = self._sorted(self._lines.take(piece))
        self.text += spoken
        for end in _SENTENCE_END.finditer(self.text, self.sentences):
            self.sentences = end.end()
        return shown if self.holds else piece, spoken

    def finish(self, also: str = "") -> str:
        """The answer is complete, and so is its last sentence; `also` is spoken behind it. What is still to be shown of the answer.

        What is held of it is blank or left of a call, and never spoken.
        """
        shown, _ = self._sorted(self._lines.finish())
        self.text += also
        self.sentences = len(self.text)
        return shown if self.holds else ""

    def _sorted(self, parts: Iterable[Part]) -> tuple[str, str]:
        shown = spoken = ""
        for part in parts:
            if part.is_call:
                self._called = True
                shown += f"{part.text}\n"
            elif not (self._called and (self.holds or self.is_doubted)):
                shown += part.text
                spoken += part.text
        return shown, spoken
