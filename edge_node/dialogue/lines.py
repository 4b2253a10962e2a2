"""What each line of an answer is: something said, or something that was to be a call. One rule for whoever reads answers.

A call stands alone in a line that begins with `{`. Models also write calls behind white space, behind a sentence, in a list,
over several lines, or stop in the middle of one. What is left of such a call is never said: nobody wants to hear `"}`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

_AFTER_LINE = re.compile(r"(?<=\n)")
_CALL = re.compile(r'[{}\]]|\[\s*\{|"(name|arguments)"\s*:')  # what a line begins with that is a call, or left of one
_KEYS = ('"name"', '"arguments"')
_INSIDE = re.compile(r'\{\s*"name"')  # a call behind a sentence
_INSIDE_CUT = re.compile(r'\{\s*("(n(a(me?)?)?)?)?$')  # what may become one
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"?')
_PUNCTUATION = re.compile(r'[{}\[\]",:\s]*')  # JSON without a word


class _Kind(Enum):
    SAID = "it is said"
    CALL = "it was to be a call"
    OPEN = "it depends on what comes"  # where nothing comes, it is left of a call
    BLANK = "there is nothing in it yet"


@dataclass(frozen=True)
class Part:
    """Characters [start, end) of an answer. `text` is what is said there, or the whole of what was to be a call."""

    start: int
    end: int
    text: str
    is_call: bool


def without_controls(text: str) -> str:
    """`text` without control characters, but for tabs and line feeds."""
    return text if text.isprintable() else "".join(c for c in text if c in "\t\n" or unicodedata.category(c) != "Cc")


def _left_open(call: str) -> int:
    """How many more brackets it opens than it closes, outside its strings."""
    bare = _STRING.sub("", call)
    return bare.count("{") - bare.count("}")


class LineSorter:
    """Takes the lines of one answer in their order: what a line is may depend on a call that is still open before it."""

    def __init__(self, *, has_calls: bool = True) -> None:
        """Without calls everything is said, whatever it looks like."""
        self._has_calls = has_calls
        self._depth = 0  # brackets that the calls before have left open

    def sort(self, line: str) -> tuple[str | None, str | None]:
        """What a whole line says, and the call that it was to be, each None where there is none of it."""
        kind = self._kind(line)
        if kind in {_Kind.CALL, _Kind.OPEN}:
            self._depth = max(0, self._depth + _left_open(line))
            return None, line
        if kind is _Kind.BLANK:
            return without_controls(line), None
        self._depth = 0
        inside = self._call_inside(line)
        if inside is None:
            return without_controls(line), None
        self._depth = max(0, _left_open(line[inside:]))
        return without_controls(line[:inside]), line[inside:]

    def certain(self, line: str) -> int:
        """How many characters at the beginning of a line that is still being written are said for certain."""
        if self._kind(line) is not _Kind.SAID:
            return 0
        inside = self._call_inside(line)
        return len(line) if inside is None else inside

    def _kind(self, line: str) -> _Kind:
        """What a line is that may still be written."""
        bare = without_controls(line).strip()
        if not self._has_calls:
            return _Kind.SAID
        if not bare:
            return _Kind.BLANK
        goes_on = self._depth > 0 and bare[0] in '",:'
        if goes_on or _CALL.match(bare):
            return _Kind.CALL
        may_be = any(key.startswith(bare) for key in _KEYS) or _PUNCTUATION.fullmatch(bare)
        return _Kind.OPEN if may_be else _Kind.SAID

    def _call_inside(self, line: str) -> int | None:
        if not self._has_calls:
            return None
        found = _INSIDE.search(line) or _INSIDE_CUT.search(line)
        return None if found is None else found.start()


class AnswerLines:
    """Takes an answer piece by piece, and gives out what is said as soon as that is certain, calls when their line is whole."""

    def __init__(self, *, has_calls: bool = True) -> None:
        self._sorter = LineSorter(has_calls=has_calls)
        self._line = ""  # the one under way
        self._begun = 0  # where in the answer it begins
        self._given = 0  # characters of it that were given out

    @property
    def held(self) -> str:
        """What has come and was not given out."""
        return self._line[self._given :]

    def take(self, piece: str) -> Iterator[Part]:
        """The parts that a piece completes."""
        for each in filter(None, _AFTER_LINE.split(piece)):
            self._line += each
            if each.endswith("\n"):
                yield from self._whole(self._line[:-1], "\n")
            else:
                yield from self._said_by(self._sorter.certain(self._line))

    def finish(self) -> Iterator[Part]:
        """The parts that are left, as nothing more comes."""
        if self._line:
            yield from self._whole(self._line, "")

    def _said_by(self, end: int) -> Iterator[Part]:
        """What is said of the line up to there, and was not given out."""
        if end > self._given:
            text = without_controls(self._line[self._given : end])
            yield Part(self._begun + self._given, self._begun + end, text, is_call=False)
            self._given = end

    def _whole(self, line: str, end: str) -> Iterator[Part]:
        said, call = self._sorter.sort(line)
        if said is not None:
            # A line feed behind what is said belongs to it; a call has its line for itself, with or without one.
            yield from self._said_by(len(line) - len(call) if call is not None else len(self._line))
        self._begun += len(line) + len(end)
        if call is not None:
            yield Part(self._begun - len(end) - len(call), self._begun, call, is_call=True)
        self._line, self._given = "", 0
