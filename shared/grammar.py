"""A grammar: what an answer may be, as JSON text that travels from node to hub as it is and is known by its hash.

    {"schema": {…}}                                  the answer is JSON that fits the schema
    {"calls": [[NAME, SCHEMA], …], "style": STYLE}   the answer calls these functions; STYLE is a key of `STYLES`

shared/guide.py follows one while an answer is written.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from math import prod
from typing import Any

from shared.errors import GrammarError
from shared.limits import MAX_GRAMMAR, MAX_PACKED_GRAMMAR

_DEEPEST = 64  # levels of a grammar's JSON
_MOST_PARTS = 4_000  # objects, lists and values of it
_NAMED = frozenset({"properties", "$defs", "definitions"})  # what stands in these is called as one likes
_PLAIN = frozenset(
    {"schema", "calls", "style", "type", "required", "additionalProperties", "items", "enum", "const", "title", "description", "default", "examples", "$ref"}
    | {"minLength", "maxLength", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "minItems", "maxItems", "anyOf", "$schema"}
    | _NAMED
)  # fmt: skip
_LONGEST_PATTERN = 1_000  # characters
_MOST_COUNTED = 10_000
_COUNT = re.compile(r"[{,](\d{1,9})(?=[,}])")
_LARGEST = {
    "multipleOf": 100,
    **dict.fromkeys(("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"), 100_000),
    **dict.fromkeys(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"), 1e15),
}
# In the calls of a pair these say what a value is like; whoever carries a call out looks at that, and tells the person.
_LEFT_TO_CHECKS = frozenset(
    {"description", "minLength", "maxLength", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "pattern", "format"}
    | {"minItems", "maxItems", "minProperties", "maxProperties", "anyOf"}
)  # fmt: skip
_VALUES = frozenset({"enum", "const", "default", "examples"})  # keywords whose value is no schema


@dataclass(frozen=True)
class Style:
    """How calls are written: the separators of their JSON, what stands around each, and whether there may be none."""

    item: str
    key: str
    before: str
    after: str
    rule: str  # in the language of shared/guide.py, of `call`


# What is said begins with nothing that a call begins with, and has none inside: edge_node/dialogue/lines.py.
_SAID = r"""
said: LINE (/\n+/ LINE)*
LINE: /[ \t]*([^\s{}\[\]:,"]|"[^na\s{}"])[^\n{]*/"""
STYLES = {
    # As the built-in pair writes: some calls, one in a line, then what is said.
    "lines": Style(",", ":", "", "", r'call ("\n" call)* ("\n" said)? | said' + _SAID),
    # The same where there must be a call.
    "called lines": Style(",", ":", "", "", r'call ("\n" call)* ("\n" said)?' + _SAID),
    # As Qwen and others write: one call between tags.
    "tags": Style(", ", ": ", "<tool_call>\n", "\n</tool_call>", "call"),
}


@dataclass(frozen=True)
class Grammar:
    """A grammar by its text. It may be one that nothing can follow: that shows when it is compiled."""

    text: str

    @cached_property
    def digest(self) -> int:
        """64 bits by which node and hub know it, never 0."""
        return int.from_bytes(blake2b(self.text.encode(), digest_size=8).digest(), "big") or 1

    @cached_property
    def packed(self) -> bytes:
        """As it travels. Raises GrammarError for one that is too large."""
        text = self.text.encode()
        packed = zlib.compress(text, 9)
        if len(text) > MAX_GRAMMAR or len(packed) > MAX_PACKED_GRAMMAR:
            raise GrammarError(
                f"the schema has {len(text)} bytes, {len(packed)} packed; at most {MAX_GRAMMAR} and {MAX_PACKED_GRAMMAR} are taken: make it smaller"
            )
        return packed

    @cached_property
    def is_plain(self) -> bool:
        """Whether it has nothing by which a short text takes long to compile."""
        layer: list[tuple[Any, bool]] = [(self.read(), True)]
        while layer:
            value, names_are_keywords = layer.pop()
            if isinstance(value, list):
                layer += ((each, True) for each in value)
            elif isinstance(value, dict):
                if names_are_keywords and not value.keys() <= _PLAIN:
                    return False
                layer += ((each, key not in _NAMED or not names_are_keywords) for key, each in value.items())
        return True

    @classmethod
    def unpacked(cls, packed: bytes) -> Grammar:
        """The grammar that travelled so. Raises GrammarError."""
        unpacker = zlib.decompressobj()
        try:
            text = unpacker.decompress(packed, MAX_GRAMMAR)
            if not unpacker.eof or unpacker.unused_data:
                raise GrammarError(f"the grammar has more than {MAX_GRAMMAR} bytes, or is not whole")
            return cls(text.decode())
        except (zlib.error, UnicodeDecodeError):
            raise GrammarError("the grammar is no text that was packed by zlib") from None

    @classmethod
    def of_schema(cls, schema: Mapping[str, Any]) -> Grammar:
        """JSON that fits the schema. Raises GrammarError for a schema that is no JSON."""
        return cls(_written({"schema": schema}))

    @classmethod
    def of_calls(cls, functions: Iterable[tuple[str, Mapping[str, Any]]], style: str) -> Grammar:
        """Calls of these functions, each a name and the schema of its arguments. Raises GrammarError."""
        return cls(_written({"calls": [[name, dict(schema)] for name, schema in functions], "style": style}))

    @classmethod
    def of_own_calls(cls, functions: Iterable[tuple[str, Mapping[str, Any]]]) -> Grammar:
        """The calls of a pair: names, arguments and their types. Ranges and patterns are left to the checks behind the answer.

        A model that wants to set 900 degrees is not to be made to set 90.
        """
        return cls.of_calls(((name, _types_of(schema)) for name, schema in functions), "lines")

    def read(self) -> dict[str, Any]:
        """What it says. Raises GrammarError for another form than this file tells."""
        try:
            said = json.loads(self.text)
        except (ValueError, RecursionError):
            raise GrammarError("the grammar is no JSON") from None
        if not isinstance(said, dict) or _depth_exceeds(said, _DEEPEST):
            raise GrammarError(f"the grammar must be an object of at most {_DEEPEST} levels")
        is_schema = said.keys() == {"schema"} and isinstance(said["schema"], dict)
        if not is_schema and not (
            said.keys() == {"calls", "style"} and said["style"] in STYLES and _are_calls(said["calls"])
        ):
            raise GrammarError("the grammar must have a schema, or calls and their style")
        _require_modest(said)
        return said


def _are_calls(calls: Any) -> bool:
    return (
        isinstance(calls, list)
        and len(calls) > 0
        and all(
            isinstance(call, list) and len(call) == 2 and isinstance(call[0], str) and isinstance(call[1], dict)
            for call in calls
        )
    )


def _require_modest(said: Any) -> None:
    """Raise GrammarError for numbers by which a short schema takes seconds to compile, and for very many parts."""
    parts, layer = 0, [said]
    while layer:
        value = layer.pop()
        parts += 1
        if parts > _MOST_PARTS:
            raise GrammarError(f"the schema has more than {_MOST_PARTS} parts")
        if isinstance(value, list):
            layer += value
        elif isinstance(value, dict):
            layer += value.values()
            _require_modest_pattern(value.get("pattern"))
            for key, most in _LARGEST.items():
                number = value.get(key)
                if isinstance(number, int | float) and not -most <= number <= most:
                    raise GrammarError(
                        f"{key} may be {most} at most in a schema that an answer keeps to, not {str(number)[:20]}"
                    )


def _require_modest_pattern(pattern: Any) -> None:
    """Raise GrammarError for a pattern whose counts, one in another, come to more than a schema needs."""
    if not isinstance(pattern, str):
        return
    counts = prod(max(1, int(count)) for count in _COUNT.findall(pattern))
    if len(pattern) > _LONGEST_PATTERN or counts > _MOST_COUNTED:
        raise GrammarError(
            f"a pattern may have {_LONGEST_PATTERN} characters, and counts whose product is {_MOST_COUNTED}; this one is larger: {pattern:.60}"
        )


def _depth_exceeds(value: Any, most: int) -> bool:
    layer = [value]
    for _ in range(most):
        layer = [
            inner
            for each in layer
            if isinstance(each, dict | list)
            for inner in (each.values() if isinstance(each, dict) else each)
        ]
        if not layer:
            return False
    return True


def _types_of(schema: Any) -> Any:
    """The schema without what is left to checks. Names of arguments and definitions are no keywords, whatever they are."""
    if isinstance(schema, list):
        return [_types_of(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {}
    for key, value in schema.items():
        if key in _NAMED and isinstance(value, dict):
            kept[key] = {name: _types_of(each) for name, each in value.items()}
        elif key not in _LEFT_TO_CHECKS:
            kept[key] = value if key in _VALUES else _types_of(value)
    return kept


def _written(said: Mapping[str, Any]) -> str:
    try:
        text = json.dumps(said, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        text.encode()
        return text
    except (ValueError, TypeError, RecursionError):
        raise GrammarError("the schema is no JSON, or nests too deep") from None
