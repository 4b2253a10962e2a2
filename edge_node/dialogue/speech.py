"""What of an answer is to be spoken, while it grows: the lines that are no calls, and where its sentences end."""

from __future__ import annotations

import re

from edge_node.dialogue.lines import AnswerLines

_SENTENCE_END = re.compile(r"[.!?…]+[\"'\u201d\u2019)\]]*(?=\s)|[\u3002\uff01\uff1f]|\n")


class Speech:
    """Takes an answer piece by piece."""

    def __init__(self, *, has_calls: bool = True) -> None:
        """Without calls all lines are spoken, whatever they begin with."""
        self._lines = AnswerLines(has_calls=has_calls)
        self.text = ""  # what is to be spoken so far
        self.sentences = 0  # characters of it that are whole sentences

    def take(self, piece: str) -> str:
        """What a piece of the answer adds to what is spoken."""
        spoken = "".join(part.text for part in self._lines.take(piece) if not part.is_call)
        self.text += spoken
        for end in _SENTENCE_END.finditer(self.text, self.sentences):
            self.sentences = end.end()
        return spoken

    def finish(self) -> None:
        """The answer is complete, and so is its last sentence. What is held of it is blank or left of a call."""
        self.sentences = len(self.text)
