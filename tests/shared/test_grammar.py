"""Grammars as text: what travels, what is refused, and what is too much to be compiled unwatched."""

from __future__ import annotations

import json
import zlib
from typing import Any

import pytest

from shared.errors import GrammarError
from shared.grammar import Grammar
from shared.limits import MAX_GRAMMAR

SCHEMA: dict[str, Any] = {"type": "object", "properties": {"minimum": {"type": "integer", "maximum": 9}}}


def test_a_grammar_travels_and_is_known_by_its_text() -> None:
    grammar = Grammar.of_schema(SCHEMA)
    assert Grammar.unpacked(grammar.packed) == grammar
    assert grammar.read() == {"schema": SCHEMA}
    assert 0 < grammar.digest < 2**64
    assert grammar.text == json.dumps({"schema": SCHEMA}, separators=(",", ":"))
    assert grammar.digest != Grammar.of_schema({**SCHEMA, "title": "another"}).digest


@pytest.mark.parametrize(
    ("packed", "said"),
    [
        (b"", "not whole"),
        (b"no zlib", "no text"),
        (zlib.compress(b"{}")[:-1], "not whole"),
        (zlib.compress(b"{}") + b"more", "not whole"),
        (zlib.compress(b" " * (MAX_GRAMMAR + 1)), "more than"),
        (zlib.compress(b"\xff\xfe"), "no text"),
    ],
)
def test_what_is_no_grammar_is_not_unpacked(packed: bytes, said: str) -> None:
    with pytest.raises(GrammarError, match=said):
        Grammar.unpacked(packed)


def test_what_is_too_large_is_not_sent() -> None:
    with pytest.raises(GrammarError, match="make it smaller"):
        _ = Grammar.of_schema({"enum": ["x" * MAX_GRAMMAR]}).packed


def nested(depth: int) -> Any:
    value: Any = {"type": "null"}
    for _ in range(depth):
        value = {"items": value}
    return value


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no JSON"),
        ("[" * 100_000, "no JSON"),
        ("[]", "an object"),
        ("{}", "must have a schema"),
        ('{"schema": 5}', "must have a schema"),
        ('{"schema": {}, "calls": []}', "must have a schema"),
        ('{"calls": [], "style": "lines"}', "must have a schema"),
        ('{"calls": [["f", {}]], "style": "verse"}', "must have a schema"),
        ('{"calls": [["f"]], "style": "lines"}', "must have a schema"),
        (json.dumps({"schema": nested(80)}), "levels"),
        (json.dumps({"schema": {"enum": list(range(5000))}}), "parts"),
        (json.dumps({"schema": {"items": {"multipleOf": 999_983}}}), "multipleOf may be 100 at most"),
        (json.dumps({"schema": {"maximum": 1e300}}), "maximum may be"),
        (json.dumps({"schema": {"minimum": 10**400}}), "minimum may be"),
        (json.dumps({"schema": {"minLength": 10**9}}), "minLength may be"),
        (json.dumps({"schema": {"pattern": "((a{100}){100}){100}"}}), "counts whose product"),
        (json.dumps({"schema": {"pattern": "a" * 2000}}), "characters"),
    ],
)
def test_what_says_nothing_or_too_much_is_refused(text: str, said: str) -> None:
    with pytest.raises(GrammarError, match=said):
        Grammar(text).read()


@pytest.mark.parametrize("schema", [{"x": float("nan")}, {"x": {1, 2}}, {"x": "\ud800"}])
def test_a_schema_must_be_json(schema: dict[str, Any]) -> None:
    with pytest.raises(GrammarError, match="no JSON"):
        Grammar.of_schema(schema)


def test_names_of_arguments_are_no_keywords() -> None:
    assert Grammar.of_schema({"properties": {"pattern": {"type": "string"}, "allOf": {"enum": [1]}}}).is_plain
    assert Grammar.of_schema({"properties": {"a": {"properties": {"format": {}}}}}).is_plain
    assert not Grammar.of_schema({"properties": {"a": {"pattern": "x"}}}).is_plain
    assert not Grammar.of_schema({"items": [{"allOf": []}]}).is_plain
    assert not Grammar.of_calls([("f", {"patternProperties": {}})], "lines").is_plain


def test_a_pairs_own_calls_keep_types_and_leave_the_rest_to_checks() -> None:
    schema = {
        "type": "object",
        "properties": {"minimum": {"type": "number", "minimum": 0}, "kind": {"enum": ["a"], "description": "which"}},
        "$defs": {"format": {"exclusiveMaximum": 5, "enum": [{"minimum": 1}]}},
        "additionalProperties": False,
        "required": ["kind"],
        "anyOf": [{"required": ["minimum"]}],
    }
    ((name, kept),) = Grammar.of_own_calls([("f", schema)]).read()["calls"]
    assert name == "f"
    assert kept == {
        "type": "object",
        "properties": {"minimum": {"type": "number"}, "kind": {"enum": ["a"]}},
        "$defs": {"format": {"enum": [{"minimum": 1}]}},
        "additionalProperties": False,
        "required": ["kind"],
    }
