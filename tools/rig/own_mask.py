"""The oracle's own masks: a schema becomes a regular expression over bytes, and an id may come where text and id can still be completed.

Nothing here is shared with the product. It knows the schemas that benchmarks and tests ask for, and no others: objects whose properties all
have to be there, arrays, enums, whole numbers of so many digits, strings of so many characters.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import regex

_BYTES = [bytes([value]) for value in range(256)]
_TAIL = rb"[\x80-\xbf]"
_CHARACTER = (  # of a JSON string: well-formed UTF-8 but for control characters, DEL among them, quotes and backslashes, or one of the escapes
    rb"(?:[\x20\x21\x23-\x5b\x5d-\x7e]|[\xc2-\xdf]" + _TAIL + rb"|\xe0[\xa0-\xbf]" + _TAIL + rb"|[\xe1-\xec\xee\xef]" + _TAIL + _TAIL
    + rb"|\xed[\x80-\x9f]" + _TAIL + rb"|\xf0[\x90-\xbf]" + _TAIL * 2 + rb"|[\xf1-\xf3]" + _TAIL * 3 + rb"|\xf4[\x80-\x8f]" + _TAIL * 2
    + rb'|\\["\\/bfnrt]|\\u[0-9a-fA-F]{4})'
)  # fmt: skip


class OwnMask:
    """Which ids may come, for one tokenizer and one schema."""

    def __init__(
        self, pieces: Sequence[bytes], encode: Callable[[bytes], Sequence[int]], end_ids: Sequence[int], pattern: bytes
    ) -> None:
        """`pieces` are the bytes of each id, empty for those that are no text; `encode` is the tokenizer."""
        self._encode = encode
        self._pieces, self._end_ids = pieces, list(end_ids)
        self._pattern = regex.compile(pattern)
        self._allowed = lru_cache(4096)(self._look)

    def allowed(self, ids: Sequence[int]) -> npt.NDArray[np.bool_]:
        """Whether each id may come behind an answer's `ids`."""
        return self._allowed(b"".join(self._pieces[token] for token in ids))

    def _look(self, text: bytes) -> npt.NDArray[np.bool_]:
        begins = {byte for byte in _BYTES if self._begins(text + byte)}  # most pieces fail by their first byte
        found = np.array([piece[:1] in begins and self._begins(text + piece) for piece in self._pieces])
        if (token := self._certain(text)) is not None:
            found[:] = False
            found[token] = True
        found[self._end_ids] = self._pattern.fullmatch(text) is not None
        return found

    def _begins(self, text: bytes) -> bool:
        return self._pattern.fullmatch(text, partial=True) is not None

    def _certain(self, text: bytes) -> int | None:
        """The id that comes next where the text that follows is certain: the first of those by which the tokenizer writes it.

        Those at its end are not certain that a longer id could take in, together with what may follow.
        """
        follows = b""
        while self._pattern.fullmatch(text + follows) is None:
            nexts = [byte for byte in _BYTES if self._begins(text + follows + byte)]
            if len(nexts) != 1:
                break
            follows += nexts[0]
        if not follows:
            return None
        first = self._encode(follows)[0]
        size = len(self._pieces[first])
        for start in range(size):
            rest = follows[start:]
            longer = (piece for piece in self._pieces if len(piece) > len(rest) and piece.startswith(rest))
            if any(self._begins(text + follows[:start] + piece) for piece in longer):
                return None
        return first


def json_pattern(schema: Mapping[str, Any], item: str = ", ", key: str = ": ") -> bytes:
    """The JSON that fits `schema`, with these separators."""

    def of(schema: Mapping[str, Any]) -> bytes:
        if "enum" in schema:
            return b"(?:" + b"|".join(regex.escape(json.dumps(value).encode()) for value in schema["enum"]) + b")"
        match schema["type"]:
            case "object":
                parts = [_quoted(json.dumps(name) + key) + of(inner) for name, inner in schema["properties"].items()]
                return rb"\{" + _quoted(item).join(parts) + rb"\}"
            case "array":
                least, most = schema["minItems"], schema["maxItems"]
                inner = of(schema["items"])
                assert least >= 1
                return rb"\[" + inner + b"(?:" + _quoted(item) + inner + b"){%d,%d}" % (least - 1, most - 1) + rb"\]"
            case "integer":
                assert schema["minimum"] == 0
                digits = len(str(schema["maximum"]))
                assert schema["maximum"] == 10**digits - 1
                return rb"(?:0|[1-9][0-9]{0,%d})" % (digits - 1)
            case "string":
                return b'"' + _CHARACTER + b"{%d,%d}" % (schema["minLength"], schema["maxLength"]) + b'"'
            case "boolean":
                return b"(?:true|false)"
        raise ValueError(f"no pattern for {schema}")

    return of(schema)


def _quoted(text: str) -> bytes:
    quoted: bytes = regex.escape(text.encode())
    return quoted
