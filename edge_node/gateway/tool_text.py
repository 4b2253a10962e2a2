"""Calls of tools in what a model writes: as the built-in pair has them, one in a line, or between <tool_call> tags, as Qwen and others have been trained."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict
from typing import Any

from edge_node.dialogue.calls import Call

_OPEN, _CLOSE = "<tool_call>", "</tool_call>"
_TAGGED = re.compile(rf"{_OPEN}\s*(.*?)\s*(?:{_CLOSE}|\Z)", re.DOTALL)
_MOST = 64  # calls of one answer


def in_tags(call: Call) -> str:
    """A call as it is written between tags."""
    written = json.dumps(asdict(call), ensure_ascii=False)
    return f"{_OPEN}\n{written}\n{_CLOSE}"


def calls_in_lines(text: str) -> list[dict[str, Any]]:
    """The calls of an answer that has been kept to calls in lines, and what is said."""
    calls = []
    for line in text.split("\n"):
        with suppress(ValueError):
            if line.startswith("{"):
                calls.append(_read(line))
    return calls


def calls_among(given: Iterable[Mapping[str, Any]], names: frozenset[str]) -> tuple[Call, ...]:
    """Those of the calls that are of tools of these names."""
    return tuple(Call(call["name"], call["arguments"]) for call in given if call["name"] in names)


class TaggedText:
    """Takes an answer piece by piece, gives out what is said, and keeps what may become a call."""

    def __init__(self, names: frozenset[str]) -> None:
        """Without `names` everything is said."""
        self._names = names
        self._text = ""
        self._given = 0

    def take(self, piece: str) -> str:
        """What is said for certain now."""
        self._text += piece
        return self._until(self._certain()) if self._names else self._until(len(self._text))

    def finish(self, *, is_whole: bool = True) -> tuple[str, tuple[Call, ...]]:
        """What is left to be said, and the calls. What was no call after all is said; an answer that was cut has no calls."""
        if not self._names:
            return "", ()
        if not is_whole:
            return self._until(self._certain()), ()
        bare = self._text.strip()
        calls = [call for found in _TAGGED.findall(self._text) if (call := self._call(found)) is not None]
        if not calls and bare.startswith(("{", "[")):
            calls = self._whole(bare)
        if not calls:
            return self._until(len(self._text)), ()
        return "", tuple(calls[:_MOST])

    def _until(self, end: int) -> str:
        said = self._text[self._given : end]
        self._given = max(self._given, end)
        return said

    def _certain(self) -> int:
        """Where what is said ends for certain."""
        bare = self._text.lstrip()
        if not bare or bare[0] in "{[":
            return 0
        at = self._text.find(_OPEN)
        if at >= 0:
            return len(self._text[:at].rstrip())
        size = next(size for size in range(len(_OPEN), -1, -1) if self._text.endswith(_OPEN[:size]))
        return len(self._text[: len(self._text) - size].rstrip()) if size else len(self._text.rstrip())

    def _whole(self, text: str) -> list[Call]:
        """The calls that a text is, if it is nothing else."""
        try:
            read = _read(text)
        except ValueError:
            return []
        each = read if isinstance(read, list) else [read]
        calls = [self._from(one) for one in each]
        return [call for call in calls if call is not None] if all(calls) else []

    def _call(self, text: str) -> Call | None:
        try:
            return self._from(_read(text))
        except ValueError:
            return None

    def _from(self, read: Any) -> Call | None:
        name = read.get("name") if isinstance(read, dict) else None
        if not isinstance(name, str) or name not in self._names:
            return None
        arguments = read.get("arguments", read.get("parameters", {}))
        return Call(name, arguments) if isinstance(arguments, dict) else None


def _read(text: str) -> Any:
    """JSON that can be sent on. Raises ValueError for text that is none, and for numbers and characters that there are not."""
    try:
        read = json.loads(text)
        json.dumps(read, ensure_ascii=False, allow_nan=False).encode()
    except RecursionError:
        raise ValueError("it nests too deep") from None
    return read
