"""Calls of tools in what a model writes, however it is cut into pieces."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_node.dialogue.calls import Call, in_a_line
from edge_node.gateway.tool_text import TaggedText, in_tags

NAMES = frozenset({"light", "time"})
LIGHT = Call("light", {"on": True, "area": "Küche"})
TIME = Call("time", {})


def taken(text: str, size: int, names: frozenset[str] = NAMES) -> tuple[str, tuple[Call, ...]]:
    taking = TaggedText(names)
    said = "".join(taking.take(text[at : at + size]) for at in range(0, len(text), size))
    left, calls = taking.finish()
    return said + left, calls


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
@pytest.mark.parametrize(
    ("text", "said", "calls"),
    [
        ("Hello there.", "Hello there.", ()),
        (in_tags(LIGHT), "", (LIGHT,)),
        (f"{in_tags(LIGHT)}\n{in_tags(TIME)}", "", (LIGHT, TIME)),
        (f"I look.\n{in_tags(TIME)}", "I look.", (TIME,)),
        (in_tags(TIME).removesuffix("\n</tool_call>"), "", (TIME,)),
        (in_a_line(LIGHT), "", (LIGHT,)),
        (json.dumps([{"name": "time", "parameters": {}}]), "", (TIME,)),
        ("a < b <tool", "a < b <tool", ()),
        ('<tool_call>{"name": "nobody", "arguments": {}}</tool_call>',) * 2 + ((),),
        ("<tool_call>no call</tool_call>",) * 2 + ((),),
        ('{"name": "light"',) * 2 + ((),),
        ("[1, 2]", "[1, 2]", ()),
        ("[" * 5000, "[" * 5000, ()),
        ('{"a": 1}', '{"a": 1}', ()),
        ('{"name": ["light"], "arguments": {}}',) * 2 + ((),),
        ('{"name": "light", "arguments": {"x": NaN}}',) * 2 + ((),),
        ('{"name": "light", "arguments": {"x": "\\ud800"}}',) * 2 + ((),),
    ],
)
def test_calls_and_what_is_said(text: str, said: str, calls: tuple[Call, ...], size: int) -> None:
    assert taken(text, size) == (said, calls)


def test_an_answer_that_was_cut_has_no_calls() -> None:
    taking = TaggedText(NAMES)
    said = taking.take(f"I look.\n{in_tags(TIME)}\n<tool_call>")
    left, calls = taking.finish(is_whole=False)
    assert (said + left, calls) == ("I look.", ())


@given(st.text(alphabet='<tool_call>/{} \n"a', max_size=60), st.integers(1, 9))
def test_without_a_call_every_character_is_said(text: str, size: int) -> None:
    assert taken(text, size, frozenset()) == (text, ())
    said, calls = taken(text, size)
    assert calls == ()
    assert said == text
