"""What came of a call, as whoever carried it out tells it, and the sentence that it is put into."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping
from typing import Any

_WEATHER = ("sunny", "cloudy", "rainy", "partly cloudy", "snowy", "clear", "windy", "foggy")
_WRONG = (
    "device not found", "no such area", "timeout", "unavailable", "the device does not answer", "not supported", "no such device", "permission denied",
    "no music player is on", "the list does not exist", "battery empty", "blocked by an obstacle", "internal error", "no connection",
)  # fmt: skip
_DONE = ("ok", "success", "done", True)
_STATES = (
    "on",
    "off",
    "open",
    "closed",
    "locked",
    "unlocked",
    "home",
    "not_home",
    "idle",
    "playing",
    "paused",
    "docked",
    "cleaning",
    "unavailable",
    "unknown",
)
_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


def result_of(name: str, arguments: Mapping[str, Any], named: list[str], rng: random.Random) -> tuple[str, str]:
    """The turn in which the result of a call is told, and what is to be said. `named` are things that a question may have found."""
    if rng.random() < 0.2:
        wrong = rng.choice(_WRONG)
        return json.dumps({rng.choice(("error", "result")): f"error: {wrong}"}), f"that did not work: {wrong}"
    result, say = _answer(name, arguments, named, rng)
    return json.dumps({"result": result}), say


def _answer(name: str, arguments: Mapping[str, Any], named: list[str], rng: random.Random) -> tuple[Any, str]:
    match name:
        case "HassClimateGetTemperature":
            result: Any = rng.choice((rng.randint(-5, 35), round(rng.uniform(10, 30), 1)))
            say = f"it is {result} degrees"
        case "HassGetWeather" | "HassGetCurrentTime" | "HassGetCurrentDate":
            result = _TOLD[name](rng)
            say = f"it is {result}"
        case "HassTimerStatus":
            result = say = f"{rng.randint(1, 59)} minutes left"
        case "HassGetState":
            result, say = _state(arguments, named, rng)
        case _:
            result, say = rng.choice(_DONE), "done"
    return result, say


def _state(arguments: Mapping[str, Any], named: list[str], rng: random.Random) -> tuple[Any, str]:
    thing = arguments.get("name")
    if thing is None:
        return (named, " and ".join(named)) if rng.random() < 0.7 else ([], "there are none")
    if "state" in arguments:
        is_so = rng.random() < 0.5
        return rng.choice((is_so, "yes" if is_so else "no")), "yes" if is_so else "no"
    state = rng.choice((rng.choice(_STATES), f"{rng.randint(0, 100)}%", str(rng.randint(0, 3000))))
    return state, f"the {thing} is {'away' if state == 'not_home' else state}"


_TOLD: Mapping[str, Callable[[random.Random], str]] = {
    "HassGetWeather": lambda rng: f"{rng.choice(_WEATHER)}, {rng.randint(-10, 35)} degrees",
    "HassGetCurrentTime": lambda rng: f"{rng.randint(0, 23)}:{rng.randint(0, 59):02}",
    "HassGetCurrentDate": lambda rng: rng.choice(_DAYS),
}
