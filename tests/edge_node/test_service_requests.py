"""What is asked of a service, and what is made of it."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_node.dialogue.calls import CallReader
from edge_node.dialogue.speech import Speech
from edge_node.service.requests import BadRequest, read_cancel, read_request
from edge_node.service.stop_words import is_stop, stop_call
from shared.grammar import Grammar
from shared.pair import load_pair


def test_plain_text_is_a_request() -> None:
    asked = read_request("  turn on the lights, s'il vous plaît\n".encode(), 99)
    assert asked.text == asked.prompt == "turn on the lights, s'il vous plaît"
    assert (asked.chat, asked.system, asked.generation.max_tokens, asked.has_own_id) == ("", None, 99, False)
    assert asked.id != read_request(b"the same", 99).id


def test_every_field_of_an_object_is_heeded() -> None:
    given = {
        "text": "hi", "id": "a1", "chat": "kitchen", "system": "be brief", "state": "It is 7:05.", "max_tokens": 5,
        "seed": 2**64 - 1, "temperature": 0.5, "top_k": 3, "top_p": 0.9, "stop": ["\n", "."],
    }  # fmt: skip
    asked = read_request(json.dumps(given).encode(), 99)
    assert (asked.id, asked.chat, asked.system, asked.has_own_id) == ("a1", "kitchen", "be brief", True)
    assert asked.prompt == "hi\n\nIt is 7:05."
    generation = asked.generation
    assert (generation.max_tokens, generation.seed, generation.temperature) == (5, 2**64 - 1, 0.5)
    assert (generation.top_k, generation.top_p, generation.stop) == (3, 0.9, ("\n", "."))


def test_a_schema_binds_the_answer_and_keeps_it_from_acting() -> None:
    schema = {"type": "object", "properties": {"on": {"type": "boolean"}}}
    asked = read_request(json.dumps({"text": "hi", "schema": schema}).encode(), 99)
    assert asked.generation.grammar == Grammar.of_schema(schema)
    assert not asked.acts
    assert read_request(b"hi", 99).acts


def test_ros_says_its_text_as_data() -> None:
    assert read_request(b'{"data": "go to the dock"}', 9).text == "go to the dock"


@pytest.mark.parametrize(
    ("payload", "says"),
    [
        (b"", "there is nothing to answer"),
        (b"  \n", "there is nothing to answer"),
        (b'{"text": ""}', "there is nothing to answer"),
        (b"{}", "there is nothing to answer"),
        (b'{"text": 5}', "text must be text"),
        (b'{"text": "a", "txet": 1}', "there is no field 'txet'; there are id, text"),
        (b'{"text": "a"', "begins like a JSON object and is none"),
        (b'{"text": "a\\u0000b"}', "NUL"),
        (b'{"text": "\\ud800"}', "not UTF-8"),
        (b"\xff\xfe", "not UTF-8"),
        (b"a\0b", "NUL"),
        (b"x" * 70_000, "at most 65536 bytes"),
        (b'{"text": "a", "max_tokens": 0}', "max_tokens must be a whole number from 1"),
        (b'{"text": "a", "max_tokens": true}', "max_tokens must be a whole number"),
        (b'{"text": "a", "temperature": 1e999}', "temperature must be a number"),
        (b'{"text": "a", "temperature": 1' + b"0" * 400 + b"}", "temperature must be a number"),
        (b'{"text": "a", "temperature": 1' + b"0" * 5000 + b"}", "begins like a JSON object and is none"),
        (b'{"text": "a", "top_p": 0}', "top_p must be a number above 0"),
        (b'{"text": "a", "seed": -1}', "seed must be a whole number"),
        (b'{"text": "a", "stop": [""]}', "must not hold an empty text"),
        (b'{"text": "a", "stop": 5}', "must be a text, or a list"),
        (b'{"text": "a", "schema": "object"}', "schema must be a JSON schema"),
        (b'{"text": "a", "schema": {"multipleOf": 1e9}}', "schema can't be kept to: multipleOf may be"),
        (b'{"text": "a", "chat": "' + b"x" * 65 + b'"}', "the chat must be 1 to 64 printable characters"),
        (b'{"text": "a", "id": ["b"]}', "the id must be 1 to 64 printable characters"),
        (b"{" * 5000, "begins like a JSON object and is none"),
    ],
)
def test_what_is_no_request_is_refused_in_a_sentence(payload: bytes, says: str) -> None:
    with pytest.raises(BadRequest) as refused:
        read_request(payload, 9)
    assert says in str(refused.value)
    assert len(str(refused.value)) < 300


def test_a_refusal_is_known_by_the_requests_id() -> None:
    with pytest.raises(BadRequest) as refused:
        read_request(b'{"id": "mine", "text": 1}', 9)
    assert refused.value.id == "mine"


@given(
    st.one_of(st.binary(max_size=200), st.text(max_size=100).map(lambda text: ("{" + text).encode("utf-8", "ignore")))
)
def test_whatever_comes_is_a_request_or_refused(payload: bytes) -> None:
    with suppress(BadRequest):
        assert read_request(payload, 9).text


def test_a_cancel_names_a_request_or_all() -> None:
    assert [read_cancel(each) for each in (b"", b"{}", b"a1", b'{"id": "a1"}', b'{"id": 7}')] == [
        "",
        "",
        "a1",
        "a1",
        "7",
    ]
    for payload in (b'{"id": "a", "b": 1}', b'{"id": null}', b'{"id": []}', b"[" * 99, b"\xff"):
        with pytest.raises(BadRequest):
            read_cancel(payload)


@pytest.mark.parametrize(
    "text",
    [
        "stop",
        "Stop!",
        "STOP STOP STOP",
        "please stop",
        "stop right now",
        "\uff33\uff54\uff4f\uff50",
        "halt.",
        "Robot, stop moving!",
    ],
)
def test_a_word_that_stops_is_known(text: str) -> None:
    assert is_stop(text)


@pytest.mark.parametrize(
    "text", ["", "don't stop", "stop the music", "now", "when does the bus stop?", "stop " * 9, "unstoppable"]
)
def test_a_sentence_about_stopping_is_thought_about(text: str) -> None:
    assert not is_stop(text)


def test_the_built_in_pair_can_stop_a_robot() -> None:
    call = stop_call(CallReader(load_pair("home")))
    assert call is not None
    assert (call.name, call.arguments) == ("RobotStop", {})


def test_speech_leaves_calls_out_and_marks_sentences() -> None:
    speech = Speech()
    pieces = ['{"na', 'me": 1}\nTur', "ned on. The", " door is 1.5 m away! O", "k"]
    assert [speech.take(piece)[1] for piece in pieces] == ["", "Tur", "ned on. The", " door is 1.5 m away! O", "k"]
    assert speech.text[: speech.sentences] == "Turned on. The door is 1.5 m away!"
    speech.finish()
    assert speech.sentences == len(speech.text)


fragments = st.sampled_from(
    ['{"name"', '"arguments":', '{"na', "\x1b", "}", "{", '"', "[", ",", "a", "b.", "\n", "! ", " "]
)


@given(st.lists(fragments, max_size=30).map("".join), st.lists(st.integers(1, 7), max_size=60))
def test_speech_does_not_depend_on_the_pieces(text: str, sizes: list[int]) -> None:
    whole, cut = Speech(), Speech()
    whole.take(text)
    at = 0
    for size in sizes:
        cut.take(text[at : at + size])
        at += size
    cut.take(text[at:])
    assert cut.text == whole.text
    said = CallReader(load_pair("home")).read(text).say
    assert "".join(cut.text.split()) == "".join(said.split())
