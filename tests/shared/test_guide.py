"""What may come next under a grammar, beside masks that are made in another way from another reading of the schema."""

from __future__ import annotations

import random
import time
from contextlib import suppress
from typing import Any

import numpy as np
import pytest

from edge_node.dialogue.calls import CallReader, schemas_of
from shared.errors import GrammarError
from shared.grammar import Grammar
from shared.guide import CompiledGrammar, Guide, GuideMaker, allowed, guides_of
from shared.pair import load_pair
from shared.vocabulary import end_ids, ids_below, load_tokenizer
from tests.guided import PAIR, ids_of, masks_of
from tools.bench.constrained import SCHEMAS
from tools.home.data.generate import exchange
from tools.home.data.invent import HELD_OUT

TOKENIZER = load_tokenizer(PAIR)
VOCAB = ids_below(TOKENIZER)
(END,) = end_ids(PAIR, TOKENIZER)
ROOM: dict[str, Any] = SCHEMAS[0]


def maker() -> GuideMaker:
    made = guides_of(PAIR, VOCAB, [END])
    assert made is not None
    return made


MAKER = maker()


def compiled(schema: dict[str, Any]) -> CompiledGrammar:
    return MAKER.compile(Grammar.of_schema(schema))


def may_come(guide: Guide, ids: list[int]) -> np.ndarray[Any, Any]:
    mask: np.ndarray[Any, Any] = allowed(guide.masks(ids), VOCAB)[0]
    return mask


@pytest.mark.parametrize("number", range(len(SCHEMAS)))
def test_masks_are_those_that_a_regular_expression_gives(number: int) -> None:
    grammar, own, rng = compiled(SCHEMAS[number]), masks_of(SCHEMAS[number]), random.Random(number)
    for _ in range(3):
        guide, ids = grammar.guide(), list[int]()
        while ids[-1:] != [END]:
            mask = may_come(guide, ids)
            assert mask.tolist() == own.allowed(ids).tolist(), TOKENIZER.decode(ids)
            ids.append(rng.choice(np.flatnonzero(mask).tolist()))
            assert len(ids) < 200


def test_what_may_come_depends_on_the_text_and_not_on_the_way_there() -> None:
    grammar = compiled(SCHEMAS[2])
    guide, rng, texts = grammar.guide(), random.Random(1), [list[int]()]
    for _ in range(120):
        ids = list(rng.choice(texts))
        mask = may_come(guide, ids)
        assert mask.tolist() == may_come(grammar.guide(), ids).tolist()
        token = rng.choice(np.flatnonzero(mask).tolist())
        if token != END:
            texts.append([*ids, token])


def test_wrong_drafts_leave_no_trace_in_thousands_of_places() -> None:
    schemas = schemas_of(PAIR)
    assert schemas is not None
    grammar, rng = MAKER.compile(Grammar.of_own_calls(schemas.items())), random.Random(1)
    answers = [ids_of(exchange(rng, HELD_OUT).answer) for _ in range(100)]
    for answer in answers:
        guide, place = grammar.guide(), 0
        while place <= len(answer):
            other = rng.choice(answers)
            drafted = rng.choice(
                (answer[place : place + 5], other[place : place + 4], answer[place : place + 2] + other[3:6])
            )
            masks = guide.masks(answer[:place], drafted)
            assert (masks[0] == grammar.guide().masks(answer[:place])[0]).all(), TOKENIZER.decode(answer[:place])
            place += rng.randrange(1, 4)


def test_masks_behind_drafted_ids_are_those_of_the_longer_text() -> None:
    guide = compiled(ROOM).guide()
    drafted = ids_of('{"room": "hall", "on": true')
    masks = allowed(guide.masks(drafted[:2], drafted[2:]), VOCAB)
    assert len(masks) == len(drafted) - 1
    for place in range(2, len(drafted) + 1):
        assert masks[place - 2].tolist() == may_come(compiled(ROOM).guide(), drafted[:place]).tolist()
    assert may_come(guide, drafted[:2]).tolist() == masks[0].tolist(), "drafting must leave no trace"


def test_a_drafted_id_that_may_not_come_changes_nothing() -> None:
    guide = compiled(ROOM).guide()
    ids = ids_of('{"room": "')
    before = guide.masks(ids)
    assert guide.masks(ids, [END, 5, 7])[0].tolist() == before[0].tolist()
    assert guide.masks(ids).tolist() == before.tolist()


def test_nothing_comes_behind_an_end() -> None:
    guide, whole = compiled(ROOM).guide(), ids_of('{"room": "hall", "on": true, "percent": 7}')
    masks = guide.masks(whole, [END, 5])
    assert allowed(masks, VOCAB)[0][END]
    assert allowed(masks, VOCAB)[1:].all()
    for text in ([*whole, END], [*whole, END, 5]):
        with pytest.raises(GrammarError):
            guide.masks(text)
    assert guide.masks(whole).tolist() == masks[:1].tolist()


def test_what_is_certain() -> None:
    guide = compiled(ROOM).guide()
    assert TOKENIZER.decode(guide.certain([])) == '{"room": "'
    assert guide.certain(ids_of('{"room": "hall", "on": true, "percent": 99}')) == [END]
    assert guide.certain(ids_of('{"room": "hall", "on": true, "percent": 9')) == []


def test_a_text_that_leaves_the_grammar_is_refused_and_the_guide_goes_on() -> None:
    guide = compiled(ROOM).guide()
    with pytest.raises(GrammarError, match="leaves the grammar"):
        guide.follow(ids_of("hello"))
    assert guide.masks(ids_of('{"room": "den"')).any()


def test_a_pairs_own_calls() -> None:
    schemas = {
        "Go": {
            "type": "object",
            "properties": {"to": {"type": "string"}},
            "required": ["to"],
            "additionalProperties": False,
        }
    }
    grammar = MAKER.compile(Grammar.of_own_calls(schemas.items()))
    good = (
        "Hello.",
        '{"name":"Go","arguments":{"to":"den"}}',
        '{"name":"Go","arguments":{"to":"den"}}\n{"name":"Go","arguments":{"to":"hall"}}\nOn my way.',
        "One line.\nAnother.",
        "One.\n\nTwo.",
        '"Hello" is what he said.',
        "  - a list",
        "20 degrees: that is warm, they say.",
    )
    for text in good:
        assert may_come(grammar.guide(), ids_of(text))[END], text
    reader = CallReader(PAIR)
    for text in (
        '{"name":"Stop"', '{"name":"Go","arguments":{"from"', "Hello.\n{", '{"a":1}', ' {"name":"Go"', "}", "]", "[{",
        'Done: {"name":"Go"', '"name": x', '"arguments": {', "Hello.\n  }",
    ):  # fmt: skip
        assert reader.read(f"{text}x").refused or reader.read(text).refused, text
        with pytest.raises(GrammarError):
            grammar.guide().follow(ids_of(text))


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "no such type"},
        {"$ref": "#/nowhere"},
        {"$ref": "#"},
        {"$ref": "http://127.0.0.1:1/schema.json"},
        {"enum": []},
        {"type": "string", "pattern": "(?=a)a"},
        {"not": {}},
        {"oneOf": [{}, {}]},
    ],
)
def test_what_nothing_can_follow_is_refused_in_a_sentence(schema: dict[str, Any]) -> None:
    with pytest.raises(GrammarError, match="can't be followed|too complex"):
        compiled(schema)


@pytest.mark.parametrize(
    "schema",
    [
        {"allOf": [{"type": "string", "pattern": f"^.*[ab]{{{count}}}c.*$"} for count in range(1, 60)]},
        {"type": "array", "items": {"anyOf": [{"type": "integer", "multipleOf": number} for number in range(80, 100)]}},
        {"type": "object", "properties": {f"p{number}": {} for number in range(1500)}},
        {"type": "string", "pattern": "^(.*a.*){30}$"},
        {"type": "string", "pattern": "^[ab]*a[ab]{200}$"},
    ],
)
def test_what_is_meant_to_take_long_ends_soon(schema: dict[str, Any]) -> None:
    began, worst = time.monotonic(), 0.0
    with suppress(GrammarError):
        guide, rng, ids = compiled(schema).guide(), random.Random(3), list[int]()
        for _ in range(100):
            at = time.thread_time()
            options = np.flatnonzero(may_come(guide, ids)).tolist()
            worst = max(worst, time.thread_time() - at)
            if options == [END]:
                break
            ids.append(rng.choice([token for token in options if token != END]))
    assert worst < 0.25, "the engine's thread waits for that"
    assert time.monotonic() - began < 20.0, "a trial is ended after two seconds of computing, on however busy a machine"


def test_a_tokenizer_of_another_kind_is_refused(tmp_path: Any) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text("{}")
    with pytest.raises(GrammarError, match="tokenizer"):
        GuideMaker(path, VOCAB, [END]).compile(Grammar.of_schema(ROOM))
    path.write_text("[")
    with pytest.raises(GrammarError, match="tokenizer"):
        GuideMaker(path, VOCAB, [END]).compile(Grammar.of_schema(ROOM))


def test_lengths_in_the_tokenizers_file_are_not_obeyed(tmp_path: Any) -> None:
    cut = load_tokenizer(load_pair("home"))
    cut.enable_truncation(2)
    cut.enable_padding(length=8)
    path = tmp_path / "tokenizer.json"
    cut.save(str(path))
    guide = GuideMaker(path, VOCAB, [END]).compile(Grammar.of_schema(ROOM)).guide()
    assert TOKENIZER.decode(guide.certain([])) == '{"room": "'
