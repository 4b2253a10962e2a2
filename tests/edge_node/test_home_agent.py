"""Calls carried out at a Home Assistant, over its real APIs' forms, and what goes wrong there."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from edge_node.dialogue.calls import Call
from edge_node.home_assistant.agent import HomeAgent
from edge_node.home_assistant.confirming import NOT_SURE, Outcome
from edge_node.home_assistant.follower import HomeFollower
from edge_node.home_assistant.rest import HomeAssistantRest
from edge_node.settings import HomeAssistantSettings
from shared.errors import SettingsError
from tests.scripted_home_assistant import TOKEN, ScriptedHomeAssistant
from tests.waiting import wait_until

_ON = Call("HassTurnOn", {"name": "bed light"})
LISTED = "Devices: bed light, sink light, front door"
_UNLOCK = Call("HassTurnOff", {"name": "front door"})


@pytest.fixture
def home() -> Iterator[ScriptedHomeAssistant]:
    server = ScriptedHomeAssistant()
    yield server
    server.close()


@pytest.fixture
def follower(home: ScriptedHomeAssistant) -> Iterator[HomeFollower]:
    follower = HomeFollower(home.url, TOKEN)
    follower.start()
    wait_until(lambda: follower.home is not None)
    yield follower
    follower.close()


class _Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


Said = Callable[..., Outcome]


class _House:
    def __init__(self, home: ScriptedHomeAssistant, follower: HomeFollower, unasked: tuple[str, ...] = ()) -> None:
        self.clock = _Clock()
        rest = HomeAssistantRest(home.url, TOKEN, timeout_s=2)
        self.agent = HomeAgent(follower, rest, unasked=unasked, most_listed=12, clock=self.clock)

    def hear(self, request: str, *calls: Call, can_confirm: bool = True, doubt: str = "") -> Outcome:
        outcome = self.agent.carry_out(calls, request, [], LISTED, can_confirm=can_confirm, doubt=doubt)
        assert outcome is not None
        return outcome


@pytest.fixture
def house(home: ScriptedHomeAssistant, follower: HomeFollower) -> _House:
    return _House(home, follower)


def test_a_call_is_carried_out_once_and_said_when_it_was(house: _House, home: ScriptedHomeAssistant) -> None:
    outcome = house.hear("turn on the bed light", _ON)
    assert home.handled == [{"name": "HassTurnOn", "data": {"name": "light.bed"}}]
    assert outcome.say == "Turned on Bed Light."
    assert outcome.results[0].done
    assert outcome.results[0].targets == ("Bed Light",)


def test_what_home_assistant_says_is_said(house: _House, home: ScriptedHomeAssistant) -> None:
    def speaks(told: dict[str, Any]) -> tuple[int, Any]:
        status, answer = home.succeed(told)
        return status, {**answer, "speech": {"plain": {"speech": "It shines."}}}

    home.on_intent = speaks
    assert house.hear("turn on the bed light", _ON).say == "It shines."


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ((500, {}), "status 500"),
        ((404, {}), "no intent API"),
        ((200, {"speech": {}, "response_type": "action_done", "data": {"success": [], "failed": []}}), "could not do that"),
        ((200, {"speech": {"plain": {"speech": "No."}}, "response_type": "error", "data": {"code": "x"}}), "No."),
        ((200, "what"), "I don't know whether that was done"),
        ((200, {"data": {"success": "x", "failed": 3}}), "could not do that"),
        (None, "I don't know whether that was done"),
    ],
)  # fmt: skip
def test_what_was_not_confirmed_is_not_called_done(
    house: _House, home: ScriptedHomeAssistant, answer: tuple[int, Any] | None, says: str
) -> None:
    home.on_intent = lambda _: answer
    outcome = house.hear("turn on the bed light", _ON)
    assert says in outcome.say
    assert "Turned on" not in outcome.say
    assert not outcome.results[0].done
    assert len(home.handled) == 1  # whatever went wrong, it is not tried again


def test_what_answers_too_late_is_not_called_done(house: _House, home: ScriptedHomeAssistant) -> None:
    def late(told: dict[str, Any]) -> tuple[int, Any]:
        time.sleep(2.5)
        return home.succeed(told)

    home.on_intent = late
    assert "I don't know whether that was done" in house.hear("turn on the bed light", _ON).say
    assert len(home.handled) == 1


def test_nobody_is_there(house: _House, home: ScriptedHomeAssistant) -> None:
    home.close()
    assert "can't be reached" in house.hear("turn on the bed light", _ON).say


def test_a_wrong_token_is_told_of(home: ScriptedHomeAssistant) -> None:
    follower = HomeFollower(home.url, "another")
    follower.start()
    wait_until(lambda: "does not know the token" in follower.trouble)
    follower.close()
    agent = HomeAgent(follower, HomeAssistantRest(home.url, "another"), unasked=(), most_listed=12)
    outcome = agent.carry_out([_ON], "turn on the bed light", [], LISTED, can_confirm=True)
    assert outcome is not None
    assert "does not know the token" in outcome.say
    assert not home.handled


def test_a_room_is_switched_by_one_call_and_a_part_of_it_one_by_one(house: _House, home: ScriptedHomeAssistant) -> None:
    kitchen = Call("HassTurnOff", {"area": "kitchen", "domain": "light"})
    assert house.hear("lights off in the kitchen", kitchen).say == "Turned off Sink Light and Stove Light."
    assert home.handled == [{"name": "HassTurnOff", "data": {"area": "kitchen", "domain": ["light"]}}]
    home.handled.clear()
    every = Call("HassTurnOff", {"domain": "light"})
    assert house.hear("all lights off", every).say == "Turned off 4 lights."
    assert {told["data"]["name"] for told in home.handled} == {"light.bed", "light.sink", "light.stove", "light.hall"}


def test_a_part_that_failed_is_told_of(house: _House, home: ScriptedHomeAssistant) -> None:
    def half(_: dict[str, Any]) -> tuple[int, Any]:
        targets = [{"name": name, "type": "entity", "id": "x"} for name in ("Sink Light", "Stove Light")]
        return 200, {
            "speech": {},
            "response_type": "action_done",
            "data": {"success": targets[:1], "failed": targets[1:]},
        }

    home.on_intent = half
    outcome = house.hear("lights off in the kitchen", Call("HassTurnOff", {"area": "kitchen", "domain": "light"}))
    assert outcome.say == "It worked with Sink Light, but not with Stove Light."
    assert not outcome.results[0].done


@pytest.mark.parametrize(
    ("request_", "call", "says"),
    [
        ("is the bed light on?", _ON, "That was a question"),
        ("turn on the light", _ON, "I have not heard “bed light”"),
        ("turn on the disco ball", Call("HassTurnOn", {"name": "disco ball"}), "no device called disco ball"),
        ("turn on the secret light", Call("HassTurnOn", {"name": "secret light"}), "no device called secret light"),
        ("set it to 200 degrees", Call("HassClimateSetTemperature", {"temperature": 200}), "7 to 30 °C, not 200"),
        ("set it to 900 degrees", Call("HassClimateSetTemperature", {"temperature": 20}), "not heard “20”"),
        ("start a timer of 5 minutes", Call("HassStartTimer", {"minutes": 5}), "keeps timers for its own"),
        ("don't turn on the bed light", _ON, "I do not understand “not”"),
        ("turn on the bed light at seven", _ON, "I can only do things at once"),
        ("turn off the light", Call("HassTurnOff", {"domain": "light"}), "Which one?"),
        ("off", Call("HassTurnOff", {}), "I don't know what you mean"),
        ("never mind", Call("HassNevermind", {}), "All right."),
    ],
)
def test_what_must_change_nothing_changes_nothing(
    house: _House, home: ScriptedHomeAssistant, request_: str, call: Call, says: str
) -> None:
    assert says in house.hear(request_, call).say
    assert not home.handled


def test_a_question_is_answered_from_states(house: _House, home: ScriptedHomeAssistant) -> None:
    ask = house.hear
    assert (
        ask("is the sink light on?", Call("HassGetState", {"name": "sink light", "state": "on"})).say
        == "Yes, Sink Light is on."
    )
    assert (
        ask("outside temperature?", Call("HassGetState", {"name": "outside temperature"})).say
        == "Outside Temperature is 8.5 °C."
    )
    lights = Call("HassGetState", {"area": "kitchen", "domain": "light", "state": "on"})
    assert ask("any lights on in the kitchen?", lights).say == "Yes, 1 of 2: Sink Light."
    warm = Call("HassClimateGetTemperature", {})
    assert ask("how warm is it?", warm).say == "Thermostat measures 21.5 °C."
    assert not home.handled


def test_a_lock_is_asked_back_about_and_opened_by_a_yes(house: _House, home: ScriptedHomeAssistant) -> None:
    asked = house.hear("unlock the front door", _UNLOCK)
    assert asked.say == "Shall I unlock Front Door?"
    assert asked.as_json()["asks"]
    assert not home.handled
    done = house.agent.reply("Yes, please!", asked.question, "")
    assert done is not None
    assert done.say == "Unlocked Front Door."
    assert home.handled == [{"name": "HassTurnOff", "data": {"name": "lock.front"}}]


@pytest.mark.parametrize(
    ("said", "after_s", "says"),
    [("no", 0, "All right."), ("yes", 60, "That was too long ago"), ("what time is it", 0, None), ("yes unlock the other one", 0, None)],
)  # fmt: skip
def test_a_lock_stays_locked_without_a_yes(
    house: _House, home: ScriptedHomeAssistant, said: str, after_s: float, says: str | None
) -> None:
    asked = house.hear("unlock the front door", _UNLOCK)
    house.clock.now += after_s
    outcome = house.agent.reply(said, asked.question, "")
    assert (outcome is None) == (says is None)
    if outcome is not None and says is not None:
        assert says in outcome.say
    assert not home.handled


def test_a_yes_to_nothing_is_no_request_unless_the_pair_has_asked(house: _House) -> None:
    outcome = house.agent.reply("yes", None, "Turned on the light.")
    assert outcome is not None
    assert outcome.say == "I have not asked anything."
    assert house.agent.reply("yes", None, "Do you want another story?") is None


@pytest.mark.parametrize(
    "said", ["yes", "Yes, please!", "yes, unlock it", "ok do it", "sure, go ahead", "yes please do"]
)
def test_a_yes_has_many_forms(house: _House, home: ScriptedHomeAssistant, said: str) -> None:
    asked = house.hear("unlock the front door", _UNLOCK)
    done = house.agent.reply(said, asked.question, "")
    assert done is not None
    assert done.say == "Unlocked Front Door."
    assert len(home.handled) == 1


@pytest.mark.parametrize("said", ["ok", "sure", "no", "never mind", "no thanks"])
def test_what_people_say_of_an_answer_is_no_request(house: _House, said: str) -> None:
    outcome = house.agent.reply(said, None, "Turned on Bed Light.")
    assert outcome is not None
    assert outcome.say == "All right."


def test_the_same_call_twice_is_meant_once(house: _House, home: ScriptedHomeAssistant) -> None:
    house.hear("turn on the bed light", _ON, _ON)
    assert len(home.handled) == 1


def test_one_that_fails_among_several_does_not_hide_the_others(house: _House, home: ScriptedHomeAssistant) -> None:
    home.on_intent = lambda told: (500, {}) if told["data"]["name"] == "light.sink" else home.succeed(told)
    outcome = house.hear("all lights off", Call("HassTurnOff", {"domain": "light"}))
    assert outcome.say.startswith("Turned off Bed Light, Stove Light and Hall Light. Home Assistant does not do that")
    assert len(outcome.results[0].targets) == 3
    assert not outcome.results[0].done


def test_whoever_cannot_say_yes_is_told(house: _House, home: ScriptedHomeAssistant) -> None:
    outcome = house.hear("unlock the front door", _UNLOCK, can_confirm=False)
    assert "after a yes only" in outcome.say
    assert not home.handled


def test_what_the_user_allows_is_not_asked_about(home: ScriptedHomeAssistant, follower: HomeFollower) -> None:
    house = _House(home, follower, unasked=("cover",))
    assert (
        house.hear("open the kitchen blind", Call("HassTurnOn", {"name": "kitchen blind"})).say
        == "Opened Kitchen Blind."
    )
    assert "Shall I" in house.hear("unlock the front door", _UNLOCK).say


def test_one_answer_does_the_one_and_asks_about_the_other(house: _House, home: ScriptedHomeAssistant) -> None:
    outcome = house.hear("turn on the bed light and unlock the front door", _ON, _UNLOCK, Call("RobotStop", {}))
    assert outcome.say == "Turned on Bed Light. Shall I unlock Front Door?"
    assert [told["data"] for told in home.handled] == [{"name": "light.bed"}]
    assert outcome.others == (Call("RobotStop", {}),)


def test_what_the_pair_is_not_sure_of_waits_for_a_yes(house: _House, home: ScriptedHomeAssistant) -> None:
    asked = house.hear("turn on the bed light", _ON, doubt="Did you mean: turn on the bed light?")
    assert asked.say == "Did you mean: turn on Bed Light?"
    assert not home.handled
    agreed = house.agent.reply("yes", asked.question, asked.say)
    assert agreed is not None
    assert agreed.say == "Turned on Bed Light."
    assert [told["data"] for told in home.handled] == [{"name": "light.bed"}]


def test_a_door_that_the_pair_is_not_sure_of_is_asked_about_as_doors_are(house: _House) -> None:
    assert house.hear("unlock the front door", _UNLOCK, doubt="Did you mean?").say == "Shall I unlock Front Door?"


def test_a_question_is_answered_however_unsure_and_a_mistake_told_at_once(
    house: _House, home: ScriptedHomeAssistant
) -> None:
    told = house.hear("is the bed light on", Call("HassGetState", {"name": "bed light"}), doubt="Did you mean?")
    assert "Bed Light is" in told.say
    lost = house.hear("turn on the cellar lamp", Call("HassTurnOn", {"name": "cellar lamp"}), doubt="Did you mean?")
    assert not lost.question
    assert not lost.results[0].done
    assert not home.handled


def test_who_can_not_say_yes_is_told_that_nothing_has_changed(house: _House, home: ScriptedHomeAssistant) -> None:
    outcome = house.hear("turn on the bed light", _ON, can_confirm=False, doubt="Did you mean?")
    assert outcome.say == NOT_SURE
    assert outcome.question is None
    assert not home.handled


def test_a_robot_waits_for_the_yes_too_but_stops_at_once(house: _House, home: ScriptedHomeAssistant) -> None:
    turn, halt = Call("RobotTurn", {"direction": "left"}), Call("RobotStop", {})
    asked = house.hear("turn on the bed light and turn left", _ON, turn, halt, doubt="Did you mean both?")
    assert (asked.say, asked.others) == ("Did you mean both?", (halt,))
    agreed = house.agent.reply("yes", asked.question, asked.say)
    assert agreed is not None
    assert (agreed.others, agreed.results[0].done) == ((turn,), True)


def test_an_answer_without_calls_is_none_of_its_business(house: _House) -> None:
    assert house.agent.carry_out([Call("RobotStop", {})], "stop", [], "", can_confirm=True) is None


def test_the_home_is_followed(house: _House, home: ScriptedHomeAssistant, follower: HomeFollower) -> None:
    assert "bed light" in (house.agent.system("turn on the bed light", []) or "")
    home.rename("light.bed", "Moon Lamp")
    wait_until(lambda: follower.home is not None and any(e.name == "Moon Lamp" for e in follower.home.devices))
    assert house.hear("turn on the moon lamp", Call("HassTurnOn", {"name": "moon lamp"})).results[0].done


def test_a_lost_connection_is_made_again(home: ScriptedHomeAssistant, follower: HomeFollower) -> None:
    home.sockets.pop().close()
    wait_until(lambda: bool(home.sockets))
    home.rename("light.bed", "Moon Lamp")
    wait_until(lambda: follower.home is not None and any(e.name == "Moon Lamp" for e in follower.home.devices))


@pytest.mark.parametrize(
    "url", ["homeassistant.local:8123", "http://", "ftp://x", "http://x:99999", "http://x/lovelace"]
)
def test_what_is_no_address_is_told(url: str) -> None:
    with pytest.raises(SettingsError, match="home_assistant_url"):
        HomeAssistantRest(url, TOKEN)


def test_settings_are_checked(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="may hold lock, cover"):
        HomeAssistantSettings(unasked="lock, doors")
    with pytest.raises(SettingsError, match="needs 'home_assistant_token_file'"):
        HomeAssistantSettings(url="http://x:1").token()
    open_to_all = tmp_path / "token"
    open_to_all.write_text(TOKEN)
    open_to_all.chmod(0o644)
    with pytest.raises(SettingsError, match="chmod 600"):
        HomeAssistantSettings(url="http://x:1", token_file=open_to_all).token()
