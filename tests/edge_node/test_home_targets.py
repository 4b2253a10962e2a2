"""Which entities a call is about, and which are listed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from edge_node.dialogue.calls import Call
from edge_node.home_assistant.home import Entity, Home, Place
from edge_node.home_assistant.listing import listing
from edge_node.home_assistant.targets import Targets, Unfound, find

_GROUND = Place("ground", ("Ground Floor",))
_KITCHEN, _HALL = Place("kitchen", ("Kitchen",), "ground"), Place("hall", ("Hall", "Corridor"), "ground")
_BED = Place("bed", ("Bedroom",))
_ENTITIES = (
    Entity("light.sink", ("Sink Light",), "kitchen"),
    Entity("light.stove", ("Stove",), "kitchen"),
    Entity("light.bed", ("Bed Light", "night light"), "bed"),
    Entity("light.hall_1", ("Lamp",), "hall"),
    Entity("light.hall_2", ("Secret Lamp",), "hall"),
    Entity("light.bed_2", ("Lamp",), "bed"),
    Entity("switch.deco", ("Decorative Lights",)),
    Entity("lock.front", ("Front Door",), "hall"),
    Entity("cover.blind", ("Kitchen Blind",), "kitchen", "blind"),
    Entity("cover.garage", ("Garage Door",), "", "garage"),
    Entity("media_player.a", ("Radio",), "kitchen"),
    Entity("media_player.b", ("TV",), "bed"),
    Entity("sensor.power", ("Power",), "kitchen"),
)
_HOME = Home(
    (_KITCHEN, _HALL, _BED), (_GROUND,), _ENTITIES, frozenset(e.id for e in _ENTITIES if e.id != "light.hall_2")
)
_STATES = {"media_player.a": "playing", "media_player.b": "idle"}


def _find(call: str, **slots: Any) -> Targets:
    return find(Call(call, slots), _HOME, _STATES)


@pytest.mark.parametrize(
    ("name", "slots", "wanted"),
    [
        ("HassTurnOn", {"name": "bed light"}, {"light.bed"}),
        ("HassTurnOn", {"name": "Night Lights"}, {"light.bed"}),
        ("HassTurnOn", {"name": "kitchen stove"}, {"light.stove"}),
        ("HassTurnOn", {"name": "blind", "area": "kitchen"}, {"cover.blind"}),
        ("HassTurnOn", {"name": "lamp", "area": "corridor"}, {"light.hall_1"}),
        ("HassTurnOff", {"area": "kitchen", "domain": "light"}, {"light.sink", "light.stove"}),
        ("HassTurnOff", {"area": "kitchen"}, {"light.sink", "light.stove", "media_player.a"}),
        ("HassTurnOff", {"name": "kitchen lights"}, {"light.sink", "light.stove"}),
        ("HassTurnOff", {"area": "decorative", "domain": "light"}, {"switch.deco"}),
        ("HassTurnOff", {"floor": "ground floor", "domain": "light"}, {"light.sink", "light.stove", "light.hall_1"}),
        ("HassTurnOff", {"domain": "cover", "device_class": "garage"}, {"cover.garage"}),
        ("HassMediaPause", {}, {"media_player.a"}),
        ("HassMediaPause", {"name": "tv"}, {"media_player.b"}),
        ("HassLightSet", {"area": "bedroom", "brightness": 5}, {"light.bed", "light.bed_2"}),
        ("HassTurnOn", {"name": "front door"}, {"lock.front"}),
    ],
)
def test_entities_are_found_as_people_call_them(name: str, slots: dict[str, Any], wanted: set[str]) -> None:
    assert {entity.id for entity in _find(name, **slots).entities} == wanted


@pytest.mark.parametrize(
    ("name", "slots", "says"),
    [
        ("HassTurnOn", {"name": "disco ball"}, "no device called disco ball"),
        ("HassTurnOn", {"name": "secret lamp"}, "no device called secret lamp"),
        ("HassTurnOn", {"name": "lamp"}, "2 devices called lamp; say in which room"),
        ("HassTurnOn", {"area": "cellar", "domain": "light"}, "no room called cellar"),
        ("HassTurnOn", {"floor": "attic", "domain": "light"}, "no floor called attic"),
        ("HassTurnOn", {"area": "kitchen", "domain": "fan"}, "no fan in the Kitchen"),
        ("HassSetVolume", {"volume_level": 5}, "Radio or TV; say which"),
        ("HassClimateSetTemperature", {"temperature": 5}, "no climate"),
    ],
)
def test_what_is_not_clear_is_asked_for(name: str, slots: dict[str, Any], says: str) -> None:
    with pytest.raises(Unfound, match=says):
        _find(name, **slots)


def test_without_a_place_several_are_meant_only_if_that_was_said() -> None:
    call = Call("HassTurnOff", {"domain": "light"})
    with pytest.raises(Unfound, match="Which one"):
        find(call, _HOME, _STATES, many=False)
    assert len(find(call, _HOME, _STATES, many=True).entities) > 1
    with pytest.raises(Unfound, match="don't know what you mean"):
        _find("HassTurnOff")


def test_all_are_told_at_once_only_where_that_means_no_others() -> None:
    assert _find("HassTurnOff", area="kitchen", domain="light").together == {"area": "kitchen", "domain": ["light"]}
    assert _find("HassTurnOff", floor="ground floor", domain="light").together is None  # one of them is not exposed
    assert _find("HassTurnOff", domain="light").together is None  # Home Assistant takes no call without a place


def test_a_small_home_is_listed_whole_and_always_alike() -> None:
    home = Home((_KITCHEN,), (_GROUND,), _ENTITIES[:2], frozenset({"light.sink", "light.stove"}))
    whole = "Areas: kitchen\nFloors: ground floor\nDevices: sink light, stove"
    assert listing(home, 12, ["turn on the sink light"]) == listing(home, 12, ["what time is it"]) == whole


def test_what_was_called_by_an_alias_is_listed_by_it() -> None:
    sofa = Entity("light.sofa", ("Light 3", "Reading lights", "light"))
    home = Home((Place("r", ("Living room", "Lounge")),), (), (replace(sofa, area="r"),), frozenset({"light.sofa"}))

    def listed(*said: str) -> str:
        return listing(home, 12, said)

    own = "Areas: living room\nDevices: light 3"
    assert listed("what time is it") == listed("turn on Light 3") == listed() == own
    assert listed("turn on the reading light") == "Areas: living room\nDevices: reading lights"
    assert listed("turn on the reading light", "turn it off") == "Areas: living room\nDevices: reading lights"
    assert listed("turn on the reading light", "dim light 3") == own
    assert listed("lights on in the lounge") == "Areas: lounge\nDevices: light 3", (
        "a word for all of a kind is no alias here"
    )


def _large() -> Home:
    rooms = tuple(Place(f"r{i}", (f"Room {i}",)) for i in range(40))
    colours = ["amber", "azure", "bronze", "coral", "crimson", "ebony", "emerald", "indigo", "ivory", "jade"]
    entities = tuple(
        Entity(f"light.{colour}_{i}", (f"{colour} lantern {i}",), f"r{i}") for i in range(40) for colour in colours
    )
    return Home(rooms, (), entities, frozenset(entity.id for entity in entities))


def test_of_a_home_of_400_that_part_is_listed_that_is_spoken_of() -> None:
    home = _large()
    text = listing(home, 12, ["turn on the jade lantern 17"])
    devices = text.split("Devices: ")[1].split(", ")
    assert "jade lantern 17" in devices
    assert len(devices) <= 12
    assert "jade lantern 17" in listing(home, 12, ["turn on the jade lantern 17", "turn it off"])
    assert listing(home, 12, ["what is the capital of France"]) == ""
    assert len(home.devices) == 400


def test_the_words_that_tell_devices_apart_count_most() -> None:
    dull = [Entity(f"light.l{i}", (f"Light {i} lamp",)) for i in range(30)]
    entities = (*dull, Entity("light.x", ("Moon Lamp",)))
    home = Home((), (), entities, frozenset(entity.id for entity in entities))
    assert "moon lamp" in listing(home, 3, ["turn on the moon lamp light"])
