"""What is said about calls: before they are carried out, afterwards, and in answer to questions."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any

from edge_node.dialogue.calls import Call
from edge_node.home_assistant.home import Entity
from edge_node.home_assistant.targets import Targets

# In the order of: what is to be done, what was done.
_VERBS = {
    ("HassTurnOn", "lock"): ("lock", "locked"),
    ("HassTurnOff", "lock"): ("unlock", "unlocked"),
    ("HassTurnOn", "cover"): ("open", "opened"),
    ("HassTurnOff", "cover"): ("close", "closed"),
    ("HassTurnOn", "valve"): ("open", "opened"),
    ("HassTurnOff", "valve"): ("close", "closed"),
    ("HassTurnOn", "scene"): ("activate", "activated"),
    ("HassTurnOn", "script"): ("run", "started"),
    ("HassTurnOn", "button"): ("press", "pressed"),
    ("HassTurnOn", ""): ("turn on", "turned on"),
    ("HassTurnOff", ""): ("turn off", "turned off"),
    ("HassBroadcast", ""): ("announce it", "announced it"),
    ("HassVacuumStart", ""): ("start", "started"),
    ("HassVacuumReturnToBase", ""): ("send back", "sent back"),
    ("HassMediaPause", ""): ("pause", "paused"),
    ("HassMediaUnpause", ""): ("resume", "resumed"),
    ("HassMediaPlayerMute", ""): ("mute", "muted"),
    ("HassMediaPlayerUnmute", ""): ("unmute", "unmuted"),
}
_VALUES = (
    ("brightness", "{:g} %"),
    ("color", "{}"),
    ("position", "{:g} %"),
    ("percentage", "{:g} %"),
    ("volume_level", "{:g} %"),
)
_OPENING = {"on": "open", "off": "closed"}
_SENSED = {
    "door": _OPENING,
    "window": _OPENING,
    "garage_door": _OPENING,
    "opening": _OPENING,
    "lock": {"on": "unlocked", "off": "locked"},
    "connectivity": {"on": "connected", "off": "disconnected"},
    "moisture": {"on": "wet", "off": "dry"},
}  # what a binary sensor of such a class means
_ITEMS = {"AddItem": ("add", "added"), "CompleteItem": ("tick off", "ticked off"), "RemoveItem": ("remove", "removed")}
_YES, _NO = "Yes", "No"
_MOST = 8  # entities of which one by one is told


def to_do(call: Call, targets: Targets, unit: str) -> str:
    """What a call would do, to be put behind "Shall I"."""
    return _phrase(call, targets, unit, 0)


def was_done(call: Call, targets: Targets, unit: str) -> str:
    """What a call has done, in a sentence."""
    phrase = _phrase(call, targets, unit, 1)
    return f"{phrase[0].upper()}{phrase[1:]}."


def states_told(call: Call, entities: Sequence[Entity], states: dict[str, dict[str, Any]]) -> str:
    """The answer to a question about states; `states` are Home Assistant's by entity id."""
    asked = str(call.arguments.get("state", "")).replace(" ", "_").casefold()
    if not asked:
        told = [f"{entity.name} is {_state(entity, states)}" for entity in entities[:_MOST]]
        more = f", and {len(entities) - _MOST} more" if len(entities) > _MOST else ""
        return f"{', '.join(told)}{more}."
    so = [
        entity
        for entity in entities
        if asked in (str(states.get(entity.id, {}).get("state", "")).casefold(), _state(entity, states).casefold())
    ]
    word = asked.replace("_", " ")
    if len(entities) == 1:
        return f"{_YES if so else _NO}, {entities[0].name} is {_state(entities[0], states)}."
    if not so:
        return f"{_NO}, none of {len(entities)} is {word}."
    if len(so) == len(entities):
        return f"{_YES}, all {len(so)} are {word}: {_each(so)}."
    return f"{_YES}, {len(so)} of {len(entities)}: {_each(so)}."


def temperature_told(entities: Sequence[Entity], states: dict[str, dict[str, Any]], unit: str) -> str:
    """The temperature that thermostats measure."""
    told = []
    for entity in entities[:_MOST]:
        value = states.get(entity.id, {}).get("attributes", {}).get("current_temperature")
        told.append(f"{entity.name} measures {value} {unit}" if value is not None else f"{entity.name} measures none")
    return f"{', '.join(told)}."


def weather_told(entity: Entity, states: dict[str, dict[str, Any]]) -> str:
    """What a weather entity says."""
    state = states.get(entity.id, {})
    attributes = state.get("attributes", {})
    degrees = attributes.get("temperature")
    there = f", {degrees} {attributes.get('temperature_unit', '°C')}" if degrees is not None else ""
    return f"{entity.name}: {str(state.get('state', 'unknown')).replace('_', ' ').replace('partlycloudy', 'partly cloudy')}{there}."


def clock_told(answer: dict[str, Any]) -> str:
    """The time or date in Home Assistant's answer; nothing if it has none."""
    slots = answer.get("speech_slots")
    slots = slots if isinstance(slots, dict) else {}
    try:
        if "time" in slots:
            return f"It is {dt.time.fromisoformat(str(slots['time'])):%H:%M}."
        if "date" in slots:
            day = dt.date.fromisoformat(str(slots["date"])[:10])
            return f"It is {day:%A}, {day.day} {day:%B} {day.year}."
    except ValueError:
        pass
    return ""


def _phrase(call: Call, targets: Targets, unit: str, tense: int) -> str:
    domains = list(dict.fromkeys(entity.domain for entity in targets.entities))
    if len(domains) > 1 and any((call.name, domain) in _VERBS for domain in domains):
        parts = [tuple(entity for entity in targets.entities if entity.domain == domain) for domain in domains]
        return " and ".join(_phrase(call, Targets(part, where=targets.where), unit, tense) for part in parts)
    domain = domains[0] if len(domains) == 1 else ""
    verbs = _VERBS.get((call.name, domain)) or _VERBS.get((call.name, ""))
    if verbs is not None:
        return f"{verbs[tense]} {targets.named}" if targets.entities else verbs[tense]
    values = [text.format(call.arguments[slot]) for slot, text in _VALUES if slot in call.arguments]
    temperature = call.arguments.get("temperature")
    if temperature is not None:
        degrees = "K" if call.name == "HassLightSet" else unit
        values.append(f"{temperature:g} {degrees}" if isinstance(temperature, int | float) else str(temperature))
    if values:
        return f"set {targets.named} to {' and '.join(values)}"
    item = call.arguments.get("item")
    if item is not None:
        verbs = next((verbs for kind, verbs in _ITEMS.items() if kind in call.name), ("change", "changed"))
        return f"{verbs[tense]} {item}{f' on {targets.named}' if targets.entities else ''}"
    spoken = "".join(f" {each}" if each.isupper() else each for each in call.name.removeprefix("Hass")).strip().lower()
    return f"{('do', 'done:')[tense]} {spoken}{f' with {targets.named}' if targets.entities else ''}"


def _state(entity: Entity, states: dict[str, dict[str, Any]]) -> str:
    state = states.get(entity.id, {})
    value = str(state.get("state", "unknown"))
    if entity.domain == "binary_sensor":
        return _SENSED.get(entity.device_class, {}).get(value, value)
    unit = state.get("attributes", {}).get("unit_of_measurement")
    return f"{value} {unit}" if unit else value.replace("_", " ")


def _each(entities: Sequence[Entity]) -> str:
    names = [entity.name for entity in entities]
    return ", ".join(names[:_MOST]) + (f" and {len(names) - _MOST} more" if len(names) > _MOST else "")
