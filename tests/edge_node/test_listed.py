"""Calls beside the list of the home."""

from __future__ import annotations

from typing import Any

import pytest

from edge_node.dialogue.calls import Call
from edge_node.dialogue.listed import Compared, compared
from shared.home_list import HomeList, ListedNames
from shared.pair import load_pair

HOME = load_pair("home").listed
SYSTEM = "Areas: den, hall, great hall\nFloors: loft\nDevices: hall light, Desk Lamp, lamp, 3d printer, lamp 1, caf\u00e9 fan"


def names(system: str = SYSTEM) -> ListedNames:
    assert isinstance(HOME, HomeList)
    listed = HOME.read(system)
    assert listed is not None
    return listed


def on(**arguments: Any) -> Call:
    return Call("HassTurnOn", arguments)


@pytest.mark.parametrize(
    "system",
    [
        "areas: den, hall. floors: loft. devices: desk lamp",
        "Rooms: Den, Hall; Floors: Loft; Devices: Desk Lamp",
        "devices: desk lamp\nareas: den, hall\nfloors: loft",
    ],
)
def test_a_list_is_read_in_every_form_that_the_pair_knows(system: str) -> None:
    listed = names(system)
    assert {argument: set(each) for argument, each in listed.names.items()} == {
        "area": {"den", "hall"},
        "floor": {"loft"},
        "name": {"desklamp"},
    }


@pytest.mark.parametrize("system", ["", "You are brief.", "Answer: yes", "areas", "Wishes: none, at all"])
def test_another_message_lists_nothing(system: str) -> None:
    assert HOME is not None
    assert HOME.read(system) is None


@pytest.mark.parametrize(
    "call",
    [
        on(name="desk lamp"),
        on(name="The Desk Lamp"),
        on(name="3 d printer"),
        on(name="cafe fan"),
        on(area="Great Hall", domain="light"),
        on(area="upstairs"),
        on(name="tv"),
        on(name="romantic", domain="scene"),
        Call("HassListAddItem", {"name": "shopping", "item": "milk"}),
        Call("HassGetState", {"name": "milo", "state": "home"}),
        Call("HassGetState", {"name": "milo"}),
        Call("HassGetWeather", {"name": "oslo"}),
        Call("RobotGoTo", {"place": "dock"}),
        on(name=3),
        on(),
    ],
)
def test_what_is_listed_or_need_not_be_stays(call: Call) -> None:
    assert compared([call], names(), "whatever was said") == Compared((call,))


@pytest.mark.parametrize(
    ("call", "request_", "missing"),
    [
        (on(name="silver lamp"), "turn on the silver lamp", "silver lamp"),
        (on(name="lamp 2"), "turn on lamp 2", "lamp 2"),
        (on(area="cellar", domain="light"), "cellar lights on", "cellar"),
        (on(name="desk lamp", area="cellar"), "desk lamp in the cellar on", "cellar"),
        (Call("HassGetState", {"name": "heat pump", "state": "on"}), "is the old heat pump on", ""),
        (Call("HassGetState", {"name": "old heat pump", "state": "on"}), "is the old heat pump on", "old heat pump"),
    ],
)
def test_what_is_not_there_is_told_by_its_name(call: Call, request_: str, missing: str) -> None:
    assert compared([call], names(), request_).missing == missing


def test_of_several_calls_none_is_left_where_one_is_for_something_that_is_not_there() -> None:
    found = compared([on(name="desk lamp"), on(name="big sofa")], names(), "desk lamp and big sofa on")
    assert found.missing == "big sofa"


@pytest.mark.parametrize(
    ("call", "moved"),
    [
        (on(area="loft", domain="light"), on(floor="loft", domain="light")),
        (on(name="great hall"), on(area="great hall")),
        (on(floor="hall light"), on(name="hall light")),
        (
            Call("HassLightSet", {"area": "attic", "domain": "light", "brightness": 9}),
            Call("HassLightSet", {"name": "attic lights", "brightness": 9}),
        ),
    ],
)
def test_a_name_goes_where_the_list_has_it(call: Call, moved: Call) -> None:
    assert compared([call], names(f"{SYSTEM}, attic lights"), "set the attic lights to 9") == Compared((moved,))


def test_a_room_that_is_listed_stays_a_room_beside_a_device_of_its_name() -> None:
    call = on(area="hall", domain="light")
    assert compared([call], names(), "turn on the hall light") == Compared((call,))


@pytest.mark.parametrize(
    ("call", "request_", "meant"),
    [
        (on(name="Could lamp"), "Could lamp be turned on", on(name="lamp")),
        (on(name="desk lamb"), "desk lamb on", on(name="Desk Lamp")),
        (on(area="grea hall"), "Great hall on", on(area="Great hall")),
        (on(area="Dear computer"), "Dear computer, could great hall be on", on(area="great hall")),
    ],
)
def test_what_was_almost_named_is_guessed(call: Call, request_: str, meant: Call) -> None:
    found = compared([call], names(), request_)
    assert found.calls == (meant,)
    assert len(found.guessed) == 1
    assert not found.missing


def test_nothing_is_guessed_that_could_be_two_things() -> None:
    listed = names("Devices: left lamp a, left lamp b")
    assert compared([on(name="left lamp")], listed, "what about that").missing == "left lamp"


def test_a_device_is_not_taken_for_the_room_it_was_said_to_be_in() -> None:
    assert compared([on(name="big sofa")], names(), "big sofa in the den on").missing == "big sofa"


def test_what_one_call_is_about_already_is_not_guessed_for_another() -> None:
    calls = [on(area="den"), on(area="nowhere at all")]
    assert compared(calls, names(), "den on and nowhere at all off").missing == "nowhere at all"
