"""Tries a node against a real Home Assistant: `python -m tools.try_home_assistant`.

Broker, hub, `sled-node run` and Home Assistant Core with its demo entities run as they would in a house. Things are said through Assist (Wyoming) and
over MQTT, and the states of the entities are compared before and afterwards. Exits with status 1 where something is not as it should be.
"""

from __future__ import annotations

import secrets
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from shared.errors import SledError
from shared.program import run
from shared.streams import put_line
from tools.home_assistant.environment import home_assistant
from tools.home_assistant.house import HIDDEN, ServiceCalls, furnish, plenty
from tools.home_assistant.instance import Instance, running_instance
from tools.rig.broker import free_port
from tools.rig.household import Household, running_service
from tools.rig.testbed import HUB, HubBed, running_hub

_NODE, _HOUSE, _ASSISTANT = "pi", "house", "assistant"
_AGENT = "conversation.sled_pi"
_ASK, _SAID, _EVENT = "text.sled_node_pi_ask", "sensor.sled_node_pi_said", "event.sled_node_pi_answer"
_ATTRIBUTES = ("temperature", "brightness", "current_position", "volume_level", "percentage")
_SETTLED_S = 20.0
States = Mapping[str, dict[str, Any]]
Check = Callable[[States], bool]


@dataclass(frozen=True)
class Said:
    """What is said, and what must hold of the states afterwards; beside `may_change` none of them may differ."""

    text: str
    holds: Check
    may_change: tuple[str, ...] = ()
    chat: str = ""  # conversation; a new one without
    says: str = ""  # what the answer must hold


def _is(entity: str, *wanted: str) -> Check:
    return lambda states: states[entity]["state"] in wanted


def _has(entity: str, attribute: str, low: float, high: float) -> Check:
    return lambda states: low <= (states[entity]["attributes"].get(attribute) or 0) <= high


def _lights_off(states: States) -> bool:
    lights = [entity for entity in states if entity.startswith("light.") and entity != HIDDEN]
    return all(states[entity]["state"] == "off" for entity in lights) and states[HIDDEN]["state"] == "on"


def _unchanged(_: States) -> bool:
    return True


_LIGHTS = (
    "light.bed_light",
    "light.ceiling_lights",
    "light.kitchen_lights",
    "light.office_rgbw_lights",
    "light.living_room_rgbww_lights",
)
_BY_ASSIST = (
    Said("turn on the bed light", _is("light.bed_light", "on"), ("light.bed_light",), "bed", "Bed Light"),
    Said("turn it off", _is("light.bed_light", "off"), ("light.bed_light",), "bed"),
    Said("turn off the kitchen lights", _is("light.kitchen_lights", "off"), ("light.kitchen_lights",)),
    Said("turn on the light in the kitchen", _is("light.kitchen_lights", "on"), ("light.kitchen_lights",)),
    Said("set the hvac to 23 degrees", _has("climate.hvac", "temperature", 23, 23), ("climate.hvac",), says="23"),
    Said("set the bed light to 40 percent", _has("light.bed_light", "brightness", 100, 104), ("light.bed_light",)),
    Said("turn on the ceiling fan", _is("fan.ceiling_fan", "on"), ("fan.ceiling_fan",)),
    Said("turn on the amber lantern", _is("input_boolean.amber_lantern", "on"), ("input_boolean.amber_lantern",)),
    Said("unlock the front door", _unchanged, chat="door", says="Shall I unlock Front Door?"),
    Said("no", _unchanged, chat="door", says="All right."),
    Said("unlock the front door", _unchanged, chat="door", says="Shall I unlock Front Door?"),
    Said("yes please", _is("lock.front_door", "unlocked"), ("lock.front_door",), "door", "Unlocked"),
    Said("open the kitchen window", _unchanged, chat="window", says="Shall I open Kitchen Window?"),
    Said("what is the capital of France?", _unchanged, chat="window"),
    Said("yes", _unchanged, chat="window"),
    Said("is the hall window open?", _unchanged, says="Hall Window is open"),
    Said("set the hvac to 200 degrees", _unchanged),
    Said("turn on the disco ball", _unchanged),
    Said("don't turn off the ceiling fan", _unchanged, says="I do not understand"),
    Said("turn on the bed light when I come home", _unchanged, says="at once"),
)
_BY_MQTT = (
    Said("turn off the decorative lights", _is("switch.decorative_lights", "off"), ("switch.decorative_lights",)),
    Said("pause the walkman", _is("media_player.walkman", "paused"), ("media_player.walkman",)),
    Said("don't unlock the front door", _unchanged),
    Said("turn off all the lights", _lights_off, _LIGHTS),
    Said("add milk to the shopping list", _is("todo.shopping_list", "1"), ("todo.shopping_list",)),
)


class _Trial:
    """Says things, and counts what is not as it should be."""

    def __init__(self, home: Instance) -> None:
        self.failed = 0
        self._home = home
        self._conversations: dict[str, str] = {}

    def check(self, what: str, good: bool, detail: str = "") -> None:
        """Note one thing that was checked."""
        self.failed += not good
        put_line(f"{'ok  ' if good else 'FAIL'} {what}{f': {detail}' if detail else ''}")

    def say(self, way: str, said: Said, speak: Callable[[Said], str]) -> None:
        """Say something, and look what becomes of the house."""
        before = self._home.states()
        answer = speak(said)
        deadline = time.monotonic() + _SETTLED_S
        while not said.holds(self._home.states()) and time.monotonic() < deadline:
            time.sleep(0.2)
        after = self._home.states()
        moved = {
            entity
            for entity, state in after.items()
            if entity in before and _set(state) != _set(before[entity]) and not _is_restless(entity)
        }
        others = sorted(moved.difference(said.may_change))
        good = said.holds(after) and not others and said.says in answer
        detail = f"“{answer}”{f' but {others} changed' if others else ''}"
        self.check(f"{way} {said.text!r}", good, detail)

    def assist(self, said: Said) -> str:
        """Say it to Assist; what it answers."""
        told = self._home.converse(said.text, _AGENT, self._conversations.get(said.chat))
        if said.chat:
            self._conversations[said.chat] = told["conversation_id"]
        return str(told["response"]["speech"]["plain"]["speech"])

    def text_entity(self, said: Said) -> str:
        """Write it into the node's text entity; what its sensor says then."""
        before = self._home.states()[_EVENT]["state"]
        self._home.call("text", "set_value", entity_id=_ASK, value=said.text)
        deadline = time.monotonic() + _SETTLED_S
        while self._home.states()[_EVENT]["state"] == before and time.monotonic() < deadline:
            time.sleep(0.1)
        return str(self._home.states()[_SAID]["state"])


def _set(state: dict[str, Any]) -> list[Any]:
    """What of a state people set."""
    return [state["state"], *(state["attributes"].get(name) for name in _ATTRIBUTES)]


def _is_restless(entity: str) -> bool:
    """Whether an entity changes by itself, or tells of the node."""
    return "sled_" in entity or entity.startswith(
        ("sensor.", "sun.", "conversation.", "event.", "update.", "image_processing.")
    )


def main(
    pictures: Annotated[Optional[Path], typer.Option(file_okay=False, help="folder for screenshots")] = None,
) -> None:
    """Say it all, and check what becomes of the house."""
    hass, version = home_assistant()
    put_line(f"Home Assistant {version}")
    with (
        tempfile.TemporaryDirectory(prefix="sled-home-") as name,
        running_instance(hass, folder := Path(name), plenty()) as home,
        running_hub([_NODE], homes=[_HOUSE, _ASSISTANT], hub_options=["--broker-discovery"]) as bed,
    ):
        furnish(home)
        home.add_broker(bed.broker.settings(_ASSISTANT))
        port = free_port()
        options = [
            f"--home-assistant-url={home.url}",
            f"--home-assistant-token-file={home.token_file}",
            f"--home-assistant-wyoming-port={port}",
            "--broker-discovery",
        ]
        settings = bed.broker.settings(_NODE)
        with (
            running_service(settings, _NODE, folder / "service.log", options),
            closing(ServiceCalls(home)) as calls,
            closing(Household(bed.broker.settings(_HOUSE), _HOUSE, _NODE)) as house,
        ):
            home.add_integration("wyoming", host="127.0.0.1", port=port)
            trial = _Trial(home)
            for what, entity in (
                ("conversation agent", _AGENT),
                ("text entity", _ASK),
                ("event entity", _EVENT),
                ("hub reachable", "binary_sensor.sled_node_pi_hub"),
                ("acceptance", "sensor.sled_node_pi_acceptance"),
                ("hub's sessions", f"sensor.sled_hub_{HUB.replace('-', '_')}_sessions"),
            ):
                home.wait_for(what, entity)
                trial.check(f"Home Assistant shows the {what}", True, entity)
            for said in _BY_ASSIST:
                trial.say("Assist", said, trial.assist)
            for said in _BY_MQTT:
                trial.say("MQTT", said, trial.text_entity)
            _once(trial, house, calls, bed)
            _follows(trial, home)
            if pictures is not None:
                from tools.home_assistant.pictures import take_pictures

                take_pictures(home, pictures, _AGENT)
    if trial.failed:
        raise typer.Exit(1)


def _once(trial: _Trial, house: Household, calls: ServiceCalls, bed: HubBed) -> None:
    """A request that is repeated while the broker restarts is carried out once."""
    calls.taken()
    request = secrets.token_hex(8)
    house.ask("turn on the teal radio", request, chat="once")
    bed.broker.crash()
    bed.broker.start()
    answer = house.answer(request)
    house.ask("turn on the teal radio", request, chat="once")
    time.sleep(2)
    made = [call for call in calls.taken() if "teal_radio" in call and "turn_on" in call and "homeassistant" in call]
    trial.check(
        "a request is carried out once, though it came three times and the broker was killed",
        len(made) == 1,
        f"{made}, “{answer.get('say')}”",
    )


def _follows(trial: _Trial, home: Instance) -> None:
    """A device that is called otherwise is known by its new name."""
    home.ask("config/entity_registry/update", entity_id="light.bed_light", name="Moon Lamp")
    home.call("light", "turn_off", entity_id="light.bed_light")
    time.sleep(4)
    trial.say("Assist", Said("turn on the moon lamp", _is("light.bed_light", "on"), ("light.bed_light",)), trial.assist)


if __name__ == "__main__":
    run("tools.try_home_assistant", main, RuntimeError, TimeoutError, SledError)
