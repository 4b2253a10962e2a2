"""What a call has to stand up to before it is carried out."""

from __future__ import annotations

import pytest

from edge_node.dialogue.calls import Call
from edge_node.home_assistant.guard import is_question, out_of_range, unsaid
from edge_node.home_assistant.home import Entity
from edge_node.home_assistant.wording import holds, key, numbers, words


@pytest.mark.parametrize(
    "request_",
    [
        "is the kitchen light on?",
        "Are all the windows closed",
        "what's the temperature outside",
        "hey, is the door locked",
        "did you turn on the light?",
        "should I close the window?",
        "which lights are on",
        "how warm is it in the bath",
        "why is the light on",
        "do we have the heating on?",
        "can you tell me whether the door is locked",
        "tell me if the garage is open",
        "I wonder if the light is on",
        "Who\u2019s at home?",
        "have they locked the door?",
        "when does the vacuum start",
    ],
)
def test_a_question_is_one(request_: str) -> None:
    assert is_question(request_)


@pytest.mark.parametrize(
    "request_",
    [
        "turn on the light",
        "can you turn on the light?",
        "could you please close the blinds?",
        "would you mind turning the fan off",
        "will you lock the door",
        "how about some light in here",
        "why don't you dim the lights",
        "have the vacuum clean the kitchen",
        "do the dishes light",
        "it's too dark in here",
        "lights off, please",
    ],
)
def test_a_request_is_no_question(request_: str) -> None:
    assert not is_question(request_)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("set it to 20 degrees", 20),
        ("twenty one degrees", 21),
        ("one hundred and twenty seconds", 120),
        ("21,5 °C", 21.5),
        ("an hour and a half", 1.5),
        ("half an hour", 30),
        ("a quarter of an hour", 15),
        ("minus five degrees", -5),
        ("-2 degrees", -2),
        ("fully open", 100),
        ("twenty-five percent", 25),
        ("100%", 100),
    ],
)
def test_a_number_is_heard(text: str, number: float) -> None:
    assert number in numbers(text)


def test_a_number_is_not_heard_that_was_not_said() -> None:
    assert 90 not in numbers("set it to 900 degrees")
    assert 5 not in numbers("in minus five minutes")


@pytest.mark.parametrize(
    ("call", "missing"),
    [
        (Call("HassTurnOn", {"name": "bed light"}), ""),
        (Call("HassTurnOn", {"name": "kitchen light"}), "kitchen light"),
        (Call("HassTurnOn", {"name": "bed lights"}), ""),
        (Call("HassTurnOn", {"area": "den", "domain": "light"}), "den"),
        (Call("HassLightSet", {"name": "bed light", "brightness": 40}), ""),
        (Call("HassLightSet", {"name": "bed light", "brightness": 4}), "4"),
        (Call("HassLightSet", {"name": "bed light", "color": "red"}), "red"),
        (Call("HassSetVolumeRelative", {"volume_step": -40}), ""),
        (Call("HassTurnOff", {"domain": "fan"}), ""),
        (Call("HassLightSet", {"name": "bed light", "temperature": "warm white"}), "warm white"),
    ],
)
def test_words_that_nobody_said_are_found(call: Call, missing: str) -> None:
    assert unsaid(call, "set the Bed Light to 40 %, please") == missing


def test_a_thermostat_has_a_range() -> None:
    entities = [Entity("climate.a", ("A",))]
    call = Call("HassClimateSetTemperature", {"temperature": 32})
    assert out_of_range(call, entities, {"climate.a": {"min_temp": 7, "max_temp": 35}}, "°C") == ""
    assert "7 to 30 °C, not 32" in out_of_range(call, entities, {"climate.a": {"min_temp": 7, "max_temp": 30}}, "°C")
    assert "5 to 35" in out_of_range(Call("x", {"temperature": 200}), entities, {}, "°C")
    assert out_of_range(Call("x", {"temperature": 70}), entities, {}, "°F") == ""
    assert out_of_range(Call("HassLightSet", {"temperature": 20}), entities, {}, "°C")
    assert out_of_range(Call("HassLightSet", {"temperature": 2700}), entities, {}, "°C") == ""


def test_words_are_compared_without_articles_and_plurals() -> None:
    assert key("The Kid\u2019s Room!") == "kid's room"
    assert holds(words("turn on the kitchen lights"), words("kitchen light"))
    assert not holds(words("turn on the light in the kitchen"), words("kitchen light"))
