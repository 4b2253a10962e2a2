"""What a call has to stand up to before it is carried out: that the request is one, and that its words and values were said."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from edge_node.dialogue.calls import Call
from edge_node.home_assistant.home import Entity
from edge_node.home_assistant.wording import holds, numbers, words

ASKING = frozenset(
    {
        "HassGetState",
        "HassClimateGetTemperature",
        "HassGetWeather",
        "HassGetCurrentTime",
        "HassGetCurrentDate",
        "HassTimerStatus",
        "HassNevermind",
    }
)  # calls that change nothing
_COPIED = ("name", "area", "floor", "item", "search_query", "message", "color")  # slots whose text was said
_ASKS = re.compile(
    r"(?:(?:hey|ok|okay|so|and|well|um|uh|please|sorry|hi|hello|then|but)\s+)*"
    r"(?:(?:is|are|was|were|am|does|did|has|had|what|what's|whats|which|who|who's|whose|where|where's|when)\b"
    r"|(?:how)\b(?! about)|(?:why)\b(?! (?:don't|not)\b)"
    r"|(?:do|have|should|shall|may|can|could|would|will)\s+(?:i|we|they|it|he|she|there|any|all|anyone|anybody|people)\b"
    r"|(?:do you|did you|have you|can you tell|could you tell|can you say|do we|i wonder|i'm wondering|i was wondering|tell me (?:if|whether|what|which|how|when|where)|check (?:if|whether|that)))"
)
_TEMPERATURES = {"°C": (5.0, 35.0), "°F": (41.0, 95.0)}  # where a thermostat does not say what it can
_STEPS = ("volume_step",)
_ALIKE = 1e-6
_KELVIN = (1000, 20_000)


def is_question(request: str) -> bool:
    """Whether a request asks for something to be told, so that nothing may be switched by it."""
    plain = " ".join(re.findall(r"[\w']+", request.casefold().replace("\u2019", "'")))
    return _ASKS.match(plain) is not None


def unsaid(call: Call, said: str) -> str:
    """The word or number of a call that stands nowhere in what was said, listed or talked about; nothing if there is none."""
    there = words(said)
    for slot in _COPIED:
        value = call.arguments.get(slot)
        if isinstance(value, str) and not holds(there, words(value)):
            return value
    known = numbers(said)
    for slot, value in call.arguments.items():
        if isinstance(value, int | float):
            amount = abs(value) if slot in _STEPS else value  # "down by 10" is −10
            if not any(abs(amount - number) < _ALIKE for number in known):
                return f"{value:g}"
    temperature = call.arguments.get("temperature")
    if isinstance(temperature, str) and not holds(there, words(temperature)):
        return temperature
    return ""


def out_of_range(call: Call, entities: Sequence[Entity], attributes: Mapping[str, Mapping[str, Any]], unit: str) -> str:
    """What is wrong with a call's values for these entities; nothing if they are sane."""
    value = call.arguments.get("temperature")
    if not isinstance(value, int | float):
        return ""
    if call.name == "HassLightSet":
        coldest, warmest = _KELVIN
        said = f"A light's colour temperature is {coldest} to {warmest} kelvin."
        return "" if coldest <= value <= warmest else said
    for entity in entities:
        usual = _TEMPERATURES[unit]
        low, high = (
            float(told) if isinstance(told := attributes.get(entity.id, {}).get(name), int | float) else bound
            for name, bound in zip(("min_temp", "max_temp"), usual, strict=True)
        )
        if not low <= value <= high:
            return f"{entity.name} can be set to {low:g} to {high:g} {unit}, not {value:g}."
    return ""
