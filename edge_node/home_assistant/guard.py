"""What a call has to stand up to before it is carried out: that the request is one, and that its words and values were said."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from edge_node.dialogue.calls import Call
from edge_node.home_assistant.home import Entity
from edge_node.home_assistant.wording import DULL, holds, kinds_in, numbers, words

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
_FREE = ("item", "search_query", "message")  # slots of what somebody wants to have written, played or announced
_SAID = (*_FREE, "color", "temperature")  # slots whose text was said
_NAMES = ("name", "area", "floor")  # slots whose text was said, or is the name of something of which a part was said
_FILLED = r"(?:(?:ok|okay|so|and|well|um|uh|please|sorry|then|but|now|(?:hey|hi|hello)(?: \w+)?) )*"
_POLITE = re.compile(
    _FILLED + r"(?:(?:can|could|would|will) you (?:please )?(?!please|tell|say|check|see|explain|know|find|hear)"
    r"|(?:can|could|may|might) (?:i|we) (?:please )?(?:have|get|turn|switch)"
    r"|(?:do|would) you mind|is it possible to|what about|how about|why don't|why not)"
)
_ASKS = re.compile(
    _FILLED + r"(?:(?:is|isn't|are|aren't|was|wasn't|were|weren't|am|does|doesn't|did|didn't|has|hasn't|had"
    r"|what|what's|whats|which|who|who's|whose|where|where's|when|how|why)\b"
    r"|(?:do|don't|have|haven't) (?:i|we|you|they|he|she|there|any|anyone|anybody|people)\b|have .*\bbeen\b"
    r"|(?:should|shouldn't|shall|may|can|could|would|will|won't) (?!you\b)"
    r"|(?:can|could|would|will) you (?:please )?(?:tell|say|check|see|explain|know|find|hear)"
    r"|i wonder|i'm wondering|i was wondering|i want to know|let me know|tell me (?:if|whether|what|which|how|when|where|who)"
    r"|check (?:if|whether|that))"
)
_CLAUSE = re.compile(r"[.!?;]+(?:\s+|$)")
# What a small model does not understand, and carries out at once and without its "not".
_NOT = re.compile(r"\b(?:don't|dont|do not|never|not|leave|except|apart from|(?:all|every\w*|anything) but)\b")
_NOT_NOT = re.compile(r"\b(?:why don't|don't forget to|why not)\b")
_COUNT = r"(?:\d+|an?|half an|one|two|three|four|five|six|seven|eight|nine|ten|fifteen|twenty|thirty|forty|sixty)"
_HOUR = r"(?:one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|noon|midnight|sunset|sunrise|night)"
_LATER = re.compile(
    rf"\b(?:when|whenever|if|unless|until|tonight|tomorrow|later|every (?:day|morning|evening|night|hour)"
    rf"|(?:in|for|after) {_COUNT} (?:seconds?|minutes?|hours?|days?)"
    rf"|at (?:\d+:\d+|\d+ ?(?:am|pm|o'clock)|{_HOUR}(?! percent| degrees| hundred)))\b"
)
_REPORT = re.compile(
    _FILLED + r"(?:i|you|we|he|she|they|somebody|someone|\w+ has|\w+ have)(?: have| has| had| just| already)* "
    r"(?:turned|switched|opened|closed|locked|unlocked|dimmed|started|stopped)\b"
)
_MANY = re.compile(r"\b(?:all|every|everything|everywhere|each|both|whole|[^\W\d]{3,}s)\b")
_STEPS = ("volume_step",)
_ALIKE = 1e-6
_TEMPERATURES = {"°C": (5.0, 35.0), "°F": (41.0, 95.0)}  # where a thermostat does not say what it can
_KELVIN = (1000, 20_000)


def is_question(request: str) -> bool:
    """Whether a request asks for something to be told, so that nothing may be switched by it. Of several sentences the last one counts."""
    last = next((each for each in reversed(_CLAUSE.split(request)) if each.strip()), "")
    plain = _plain(last)
    if _POLITE.match(plain):
        return False
    return request.rstrip(" .!").endswith("?") or _ASKS.match(plain) is not None


def not_at_once(call: Call, request: str) -> str:
    """Why a request may not lead to this call now, if it says "not", or another time, or tells what was done; half a sentence, or nothing."""
    if any(slot in call.arguments for slot in _FREE):
        return ""
    plain = _plain(request)
    if _NOT.search(_NOT_NOT.sub("", plain)):
        return "I do not understand “not” and “except” well"
    if _LATER.search(plain):
        return "I can only do things at once"
    return "That was no request" if _REPORT.match(plain) else ""


def is_for_many(request: str) -> bool:
    """Whether a request may mean several things."""
    return _MANY.search(_plain(request)) is not None


def unsaid(call: Call, said: str, listed: str) -> str:
    """The word or number of a call that nobody said; nothing if there is none.

    `said` is the request and what was said shortly before. A name may be longer than what was said of it if it is `listed`, and a word of its own was said.
    """
    there, names = words(said), words(listed)
    for slot in (*_SAID, *_NAMES):
        value = call.arguments.get(slot)
        if not isinstance(value, str) or holds(there, words(value)):
            continue
        own = [word for word in words(value) if word not in DULL]
        if slot not in _NAMES or not holds(names, words(value)) or not any(holds(there, [word]) for word in own):
            return value
    kinds = kinds_in(said)
    domain = str(call.arguments.get("domain", "")).replace(" ", "_")
    if domain and kinds and domain not in kinds:
        return domain.replace("_", " ")
    known = numbers(said)
    for slot, value in call.arguments.items():
        if isinstance(value, int | float):
            amount = abs(value) if slot in _STEPS else value  # "down by 10" is −10
            if not any(abs(amount - number) < _ALIKE for number in known):
                return f"{value:g}"
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


def _plain(text: str) -> str:
    return " ".join(re.findall(r"[\w':]+", text.casefold().replace("\u2019", "'")))
