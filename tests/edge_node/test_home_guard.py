"""What a call has to stand up to before it is carried out."""

from __future__ import annotations

import pytest

from edge_node.dialogue.calls import Call
from edge_node.home_assistant.guard import is_for_many, is_question, not_at_once, out_of_range, unsaid
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
        "should the hall light be off?",
        "do the kitchen lights turn off by themselves?",
        "you turned off the bed light, right?",
        "isn't the light on",
        "could you check if the door is locked",
        "let me know if the door is open",
        "have the lights been on",
        "hey sled, is the light on",
        "can you please tell me whether it is on",
        "turn on the light. is it on now",
        "will the lights go off at ten",
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
        "can I have the bed light on please",
        "could we have the hall light on?",
        "do you mind turning off the sink light?",
        "can we get it warmer, 22 degrees",
        "have all the lights turned off",
        "do it again",
        "what about turning on the lamp",
        "is that the doorbell? turn on the porch light",
        "who left the light on? turn it off please",
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
        ("twenty one point five", 21.5),
        ("20 point 5", 20.5),
        ("21½ degrees", 21.5),
        ("two thousand seven hundred kelvin", 2700),
        ("2,700 kelvin", 2700),
        ("all the way up", 100),
        ("twenty one and a half", 21.5),
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
        (Call("HassTurnOff", {"domain": "fan"}), "fan"),
        (Call("HassLightSet", {"name": "bed light", "temperature": "warm white"}), "warm white"),
    ],
)
def test_words_that_nobody_said_are_found(call: Call, missing: str) -> None:
    assert unsaid(call, "set the Bed Light to 40 %, please", "devices: third floor lamp, red") == missing


@pytest.mark.parametrize(
    ("said", "name", "missing"),
    [
        ("turn off the moon light", "moon lamp", ""),  # the list has it, and its own word was said
        ("turn off the bed light", "stove light", "stove light"),
        ("turn off the light", "stove light", "stove light"),
        ("turn off the moon light", "sun lamp", "sun lamp"),
    ],
)
def test_of_a_listed_name_its_own_word_must_be_said(said: str, name: str, missing: str) -> None:
    listed = "devices: moon lamp, stove light, bed light"
    assert unsaid(Call("HassTurnOff", {"name": name}), said, listed) == missing


def test_another_kind_than_was_said_is_not_meant() -> None:
    assert unsaid(Call("HassTurnOff", {"domain": "light"}), "turn off the fan", "") == "light"
    assert unsaid(Call("HassTurnOff", {"domain": "fan"}), "turn off the fans", "") == ""
    assert unsaid(Call("HassTurnOff", {"domain": "light"}), "make it dark", "") == ""


@pytest.mark.parametrize(
    ("request_", "says"),
    [
        ("don't turn on the bed light", "not"),
        ("never turn off the sink light", "not"),
        ("please don\u2019t turn the hall light off", "not"),
        ("leave the bed light on", "not"),
        ("turn off everything but the sink light", "not"),
        ("turn on all lights except the bed light", "not"),
        ("turn on the hall light when I come home", "at once"),
        ("turn on the bed light at seven", "at once"),
        ("turn on the light in ten minutes", "at once"),
        ("turn off the light at 7:30", "at once"),
        ("turn on the light tonight", "at once"),
        ("turn on the light for 5 minutes", "at once"),
        ("I turned on the bed light", "no request"),
        ("somebody opened the door", "no request"),
    ],
)
def test_what_is_not_to_be_done_at_once_is_not_done(request_: str, says: str) -> None:
    assert says in not_at_once(Call("HassTurnOn", {"name": "x"}), request_)
    assert not_at_once(Call("HassListAddItem", {"name": "list", "item": "x"}), request_) == ""


@pytest.mark.parametrize(
    "request_",
    [
        "set the light at 30 percent",
        "why don't you turn on the light",
        "don't forget to turn off the light",
        "turn on the night light",
        "set it at twenty degrees",
        "open the blinds half way",
        "I need more light in here",
    ],
)
def test_what_is_to_be_done_at_once_is(request_: str) -> None:
    assert not_at_once(Call("HassTurnOn", {"name": "x"}), request_) == ""


def test_several_are_meant_by_a_plural_or_a_word_for_all() -> None:
    assert is_for_many("turn off the lights")
    assert is_for_many("everything off")
    assert not is_for_many("turn off the light")


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
