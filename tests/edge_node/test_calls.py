"""Answers taken apart: the shipped tools file, what is a call and what is refused, and that no text whatever is lost."""

from __future__ import annotations

import json
import unicodedata
from dataclasses import replace
from pathlib import Path
from typing import Any

import fastjsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_node.dialogue.calls import MAX_BRACKETS, MAX_CALLS, MAX_LENGTH, Call, CallReader, RefusedCall
from shared.errors import PairError
from shared.pair import Pair, load_pair

# The one order of arguments in a call, over all calls.
ORDER = (
    "name", "area", "floor", "domain", "device_class", "state", "item", "place", "direction", "distance_m", "degrees",
    "brightness", "color", "temperature", "position", "percentage", "volume_level", "volume_step", "hours", "minutes",
    "seconds", "start_hours", "start_minutes", "start_seconds", "search_query", "media_class", "conversation_command",
    "message",
)  # fmt: skip
HOME = load_pair("home")
READER = CallReader(HOME)
SET_LIGHT = '{"name":"HassLightSet","arguments":{"area":"hall","brightness":40}}'


def tools() -> dict[str, dict[str, Any]]:
    assert HOME.tools is not None
    return {tool["name"]: tool["parameters"] for tool in json.loads(HOME.tools.read_text())}


def line(name: str, arguments: dict[str, Any]) -> str:
    return json.dumps({"name": name, "arguments": arguments}, separators=(",", ":"), ensure_ascii=False)


def pair_with(tmp_path: Path, contents: str) -> Pair:
    file = tmp_path / "tools.json"
    file.write_text(contents)
    return replace(HOME, folder=tmp_path, tools=file, sha256={})


def reader_of(tmp_path: Path, schema: Any) -> CallReader:
    return CallReader(pair_with(tmp_path, json.dumps([{"name": "Do", "description": "Do it.", "parameters": schema}])))


@pytest.mark.parametrize(("name", "schema"), tools().items())
def test_every_schema_is_closed_and_in_the_one_order(name: str, schema: dict[str, Any]) -> None:
    fastjsonschema.compile(schema)
    assert (schema["type"], schema["additionalProperties"]) == ("object", False)
    assert list(schema["properties"]) == [key for key in ORDER if key in schema["properties"]]
    needed = {*schema.get("required", ()), *(key for option in schema.get("anyOf", ()) for key in option["required"])}
    assert needed <= set(schema["properties"])
    assert all("description" in described for described in schema["properties"].values())


ALLOWED = [
    ("HassTurnOn", {"area": "kitchen", "domain": "light"}),
    ("HassTurnOff", {"name": "Großmutters Lampe"}),
    ("HassGetState", {"name": "anna", "state": "not home"}),
    ("HassLightSet", {"area": "hall", "temperature": "warm white"}),
    ("HassLightSet", {"area": "hall", "temperature": 2700}),
    ("HassSetPosition", {"name": "left blind", "position": 12.5}),
    ("HassClimateSetTemperature", {"temperature": -5}),
    ("HassSetVolumeRelative", {"volume_step": "down"}),
    ("HassSetVolumeRelative", {"area": "den", "volume_step": -20}),
    ("HassMediaSearchAndPlay", {"search_query": "blue", "media_class": "tv_show"}),
    ("HassDecreaseTimer", {"name": "egg", "seconds": 30, "start_minutes": 5}),
    ("HassNevermind", {}),
    ("RobotTurn", {"direction": "left", "degrees": 720}),
]


@pytest.mark.parametrize(("name", "arguments"), ALLOWED)
def test_a_call_that_its_schema_allows(name: str, arguments: dict[str, Any]) -> None:
    reading = READER.read(line(name, arguments) + "\nDone.")
    assert (reading.calls, reading.say, reading.refused) == ((Call(name, arguments),), "Done.", ())


REFUSED = [
    ("HassTurnOn", {}, "at least 1"),
    ("HassTurnOn", {"room": "kitchen"}, "must not contain {'room'}"),
    ("HassTurnOn", {"area": ""}, "arguments.area must be longer"),
    ("HassTurnOn", {"area": "x" * 201}, "arguments.area must be shorter"),
    ("HassTurnOn", {"area": ["kitchen"]}, "arguments.area must be string"),
    ("HassTurnOn", {"domain": "Light"}, "arguments.domain must match"),
    ("HassGetState", {"domain": "light\n"}, "arguments.domain must match"),
    ("HassLightSet", {"area": "hall"}, "must contain brightness or color or temperature"),
    ("HassLightSet", {"brightness": True}, "arguments.brightness must be number"),
    ("HassLightSet", {"brightness": 101}, "smaller than or equal to 100"),
    ("HassLightSet", {"temperature": 999}, "bigger than or equal to 1000"),
    ("HassLightSet", {"temperature": None}, "must be number or string"),
    ("HassSetPosition", {"name": "blind"}, "must contain ['position']"),
    ("HassSetVolumeRelative", {"volume_step": "louder"}, "must match pattern ^(up|down)$"),
    ("HassStartTimer", {"name": "egg"}, "must contain hours or minutes or seconds"),
    ("HassMediaSearchAndPlay", {"search_query": "x", "media_class": "opera"}, "must be one of ['album'"),
    ("HassListAddItem", {"item": "milk"}, "must contain ['name']"),
    ("RobotTurn", {"direction": "around"}, "must be one of ['left', 'right']"),
    ("HassExplode", {}, "the pair has no such call"),
]


@pytest.mark.parametrize(("name", "arguments", "says"), REFUSED)
def test_a_call_that_its_schema_forbids(name: str, arguments: dict[str, Any], says: str) -> None:
    text = line(name, arguments)
    reading = READER.read(f"{SET_LIGHT}\n{text}\nDone.")
    assert [call.name for call in reading.calls] == ["HassLightSet"], "the other call stays"
    assert reading.say == "Done."
    (refused,) = reading.refused
    assert refused.text == text
    assert refused.error.startswith(f"{name}: ")
    assert says in refused.error


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"name":"HassTurnOn","argum', "this is not JSON: Unterminated string"),
        (SET_LIGHT + " and so on", "this is not JSON: Extra data (character 69)"),
        ("{}", '"name", a string'),
        ('{"name":"HassNevermind"}', "nothing else"),
        ('{"name":"HassNevermind","arguments":{},"id":1}', "nothing else"),
        ('{"name":1,"arguments":{}}', '"name", a string'),
        ('{"name":"HassNevermind","arguments":[]}', '"arguments", an object'),
        ('{"name":"HassNevermind","name":"HassNevermind","arguments":{}}', "twice"),
        ('{"name":"HassLightSet","arguments":{"color":"red","color":"blue"}}', "twice"),
        ('{"name":"HassLightSet","arguments":{"brightness":NaN}}', "NaN is not a finite number"),
        ('{"name":"HassLightSet","arguments":{"brightness":-Infinity}}', "-Infinity is not a finite number"),
        ('{"name":"HassLightSet","arguments":{"brightness":1e999}}', "1e999 is not a finite number"),
        (f'{{"name":"HassLightSet","arguments":{{"brightness":{"9" * 400}}}}}', "is not a finite number"),
        (r'{"name":"HassBroadcast","arguments":{"message":"\ud83d"}}', "surrogate"),
        ('{"name":' * 150, "this is not JSON"),
        ('{"name":' + "[" * MAX_BRACKETS, "brackets"),
        (line("HassBroadcast", {"message": "x" * MAX_LENGTH}), "at most 4096 characters"),
    ],
)
def test_a_line_that_is_no_call_by_its_form(text: str, says: str) -> None:
    reading = READER.read(f"{text}\n{SET_LIGHT}")
    assert len(reading.calls) == 1
    assert [refused.text for refused in reading.refused] == [text]
    assert says in reading.refused[0].error


@pytest.mark.parametrize(
    ("rubbish", "say"),
    [
        ('"}', "Done."),
        ("}}", "Done."),
        ("  } ]", "Done."),
        ('"arguments":{"area":"hall"}}', "Done."),
        ('  "name" : "HassTurnOn",', "Done."),
        ('"nam', "Done."),
        ('{\n  "name": "HassLightSet",\n  "arguments": {\n    "area": "hall",\n    "brightness": 40\n  }\n}', "Done."),
        (f"[{SET_LIGHT}]", "Done."),
        ('Sure: {"name":"HassTurnOn","argum', "Sure: \nDone."),
        ('Sure: {"na', "Sure: \nDone."),
        ("\x1b\x07", "\nDone."),
        (f"\x1b{SET_LIGHT}", "Done."),
        ("\x1b[2JOff.\r", "[2JOff.\nDone."),
    ],
)
def test_what_is_left_of_a_call_and_control_characters_are_not_said(rubbish: str, say: str) -> None:
    reading = READER.read(f"{rubbish}\nDone.")
    assert (reading.calls, reading.say) == ((), say)
    assert READER.read(rubbish).calls == ()
    assert "HassTurnOn" not in READER.read(rubbish).say


@pytest.mark.parametrize("before", ["  ", "\t", "Sure: "])
def test_a_call_behind_white_space_or_a_sentence_is_a_call(before: str) -> None:
    reading = READER.read(f"{before}{SET_LIGHT}\r\nDone.")
    assert [call.name for call in reading.calls] == ["HassLightSet"]
    assert reading.say.strip() in {"Done.", "Sure: \nDone."}


@pytest.mark.parametrize(
    "text",
    [
        '"Good morning", she said.',
        '"Name" is no name.',
        "[1] The first.",
        ": so",
        "Set {a, b} is empty.",
        '"x": the unknown',
    ],
)
def test_a_sentence_with_marks_is_said(text: str) -> None:
    assert READER.read(text).say == text
    assert READER.read(f"{SET_LIGHT}\n{text}").say == text


def test_calls_beyond_the_most_that_an_answer_has_are_refused() -> None:
    reading = READER.read("\n".join([SET_LIGHT] * (MAX_CALLS + 2)))
    assert len(reading.calls) == MAX_CALLS
    assert reading.refused == (RefusedCall(SET_LIGHT, "an answer has at most 64 calls"),) * 2


def test_without_a_tools_file_all_of_the_text_is_said() -> None:
    reading = CallReader(replace(HOME, tools=None)).read(f"{SET_LIGHT}\nDone.\n")
    assert (reading.calls, reading.say, reading.refused) == ((), f"{SET_LIGHT}\nDone.\n", ())


@st.composite
def calls(draw: st.DrawFn) -> Call:
    """A call that the shipped file allows, with any of its arguments."""
    name, schema = draw(st.sampled_from(sorted(tools().items())))
    properties = schema["properties"]
    options = [option["required"] for option in schema.get("anyOf", [{"required": []}])]
    keys = {
        *schema.get("required", ()),
        *draw(st.sampled_from(options)),
        *draw(st.sets(st.sampled_from([*properties, ""]))),
    }
    keys |= set(list(properties)[: schema.get("minProperties", 0)])
    return Call(name, {key: draw(argument(properties[key])) for key in properties if key in keys})


def argument(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    text = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)
    strings = (
        st.sampled_from(schema["enum"]) if "enum" in schema
        else st.from_regex(schema["pattern"], fullmatch=True).filter(lambda word: len(word) < 50 and "\n" not in word)
        if "pattern" in schema else text
    )  # fmt: skip
    numbers = [kind(schema["minimum"], schema["maximum"]) for kind in (st.integers, st.floats) if "minimum" in schema]
    return st.one_of(*numbers, *([strings] if "string" in schema["type"] else []))


said = st.text(st.characters(exclude_characters='{}[]",:\n', exclude_categories=["Cc", "Cs"]))


@given(st.lists(st.one_of(calls(), said)))
def test_calls_and_sentences_come_back_as_they_were_written(parts: list[Call | str]) -> None:
    written = [part if isinstance(part, str) else line(part.name, part.arguments) for part in parts]
    reading = READER.read("\n".join(written))
    assert reading.refused == ()
    assert list(reading.calls) == [part for part in parts if isinstance(part, Call)]
    assert reading.say == "\n".join(part for part in parts if isinstance(part, str))
    assert [list(call.arguments) for call in reading.calls] == [
        list(part.arguments) for part in parts if isinstance(part, Call)
    ]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.sampled_from(["name", "arguments", *ORDER]), inner),
)
named = st.builds(
    line, st.sampled_from([*tools(), "HassExplode"]), st.dictionaries(st.sampled_from(ORDER), json_values)
)
any_line = st.text(st.characters()) | named | st.builds(json.dumps, json_values) | st.text('{}[]":,\\u0dname1e9 ')


@given(st.lists(any_line).map("\n".join))
def test_any_text_is_taken_apart_and_no_line_is_lost(text: str) -> None:
    reading = READER.read(text)
    lines = text.split("\n")
    assert len(reading.calls) + len(reading.refused) >= sum(each.lstrip().startswith("{") for each in lines)
    spoken = reading.say.split("\n")
    assert len(reading.calls) + len(reading.refused) + len(spoken) >= len(lines)
    assert not any(each.lstrip().startswith(("{", "}", "]")) for each in spoken)
    assert all(any(refused.text in each for each in lines) for refused in reading.refused)
    assert all(refused.error for refused in reading.refused)
    assert all(c in "\t\n" or unicodedata.category(c) != "Cc" for c in reading.say)
    json.dumps([call.arguments for call in reading.calls], ensure_ascii=False, allow_nan=False).encode()


@pytest.mark.parametrize(
    ("contents", "says"),
    [
        ("[", "is not JSON"),
        ("{}", "is not a list"),
        ("[1]", "is not a list"),
        ('[{"name":"A","parameters":{}}]', "is not a list"),
        ('[{"name":1,"description":"","parameters":{}}]', "is not a list"),
        ('[{"name":"A","description":"","parameters":[]}]', "is not a list"),
        ("[" + ",".join(['{"name":"A","description":"","parameters":{}}'] * 2) + "]", "two calls of one name"),
    ],
)
def test_a_broken_tools_file_says_what_is_wrong(tmp_path: Path, contents: str, says: str) -> None:
    with pytest.raises(PairError, match=says):
        CallReader(pair_with(tmp_path, contents))


def test_a_changed_tools_file_is_noticed(tmp_path: Path) -> None:
    pair = replace(pair_with(tmp_path, "[]"), sha256=HOME.sha256)
    with pytest.raises(PairError, match="install the pair"):
        CallReader(pair)


@pytest.mark.parametrize(
    ("schema", "arguments", "says"),
    [
        ({"type": "gadget"}, {}, "schema of this call is broken"),
        ({"properties": {"x": {"pattern": "("}}}, {"x": "y"}, "schema of this call is broken"),
        ({"$ref": "http://127.0.0.1:1/schema.json"}, {}, "lies outside the tools file"),
        ({"$ref": "file:///etc/passwd"}, {}, "lies outside the tools file"),
        ({"properties": {"x": {"multipleOf": 0}}}, {"x": 1}, "cannot be checked"),
        ({"anyOf": [{"required": [1]}, {"required": ["x"]}]}, {}, "arguments must contain 1 or x"),
        ({"anyOf": [{"minProperties": 1}, {"required": ["x"]}]}, {}, "cannot be validated by any definition"),
        ({"properties": {"x": {"anyOf": [{"required": ["y", "z"]}, {"required": ["w"]}]}}}, {"x": {}},
         "arguments.x must contain y and z or w"),
    ],
)  # fmt: skip
def test_a_schema_that_does_not_work_refuses_its_calls(
    tmp_path: Path, schema: dict[str, Any], arguments: dict[str, Any], says: str
) -> None:
    reading = reader_of(tmp_path, schema).read(line("Do", arguments))
    assert reading.calls == ()
    assert says in reading.refused[0].error


def test_checking_adds_nothing_to_a_call(tmp_path: Path) -> None:
    reader = reader_of(tmp_path, {"properties": {"x": {"type": "number", "default": 1}}})
    assert reader.read(line("Do", {})).calls == (Call("Do", {}),)
