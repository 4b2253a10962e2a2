"""One call at Home Assistant: carried out, or answered, and what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from edge_node.dialogue.calls import Call
from edge_node.home_assistant.guard import ASKING, out_of_range
from edge_node.home_assistant.home import Entity, Home
from edge_node.home_assistant.rest import HomeAssistantRest
from edge_node.home_assistant.sentences import (
    clock_told,
    states_told,
    temperature_told,
    to_do,
    was_done,
    weather_told,
)
from edge_node.home_assistant.targets import Targets, Unfound, find
from edge_node.home_assistant.wording import words
from shared.errors import HomeAssistantError, HomeAssistantSilent
from shared.program import sentence

_UNTARGETED = frozenset(
    {
        "HassBroadcast",
        "HassShoppingListAddItem",
        "HassShoppingListCompleteItem",
        "HassGetCurrentTime",
        "HassGetCurrentDate",
    }
)  # calls that are about no entity
_ANYTHING = frozenset({"button", "input_button", "switch", "input_boolean", "script", "scene", "group", "automation"})
_OPENING = frozenset({"door", "doors", "gate", "gates", "garage", "lock", "locks", "alarm"})
_PLACING = ("name", "area", "floor", "domain", "device_class")  # slots that say what a call is about
_TIMERS = "Home Assistant keeps timers for its own voice devices only."
_MOST_FAILED = 8  # names that are told


class YesFor(Enum):
    """What is carried out after a yes only."""

    NOTHING = "there was one"
    GUARDED = "what opens the house"
    ALL = "whatever changes something"


class NeedsYes(Exception):
    """The call is to be confirmed first; the text says what it would do. `opens` is whether it would open the house."""

    def __init__(self, what: str, *, opens: bool = False) -> None:
        super().__init__(what)
        self.opens = opens


@dataclass(frozen=True)
class Result:
    """What became of a call. `targets` are the names of what it was carried out on, as Home Assistant says."""

    call: Call
    done: bool
    say: str
    targets: tuple[str, ...] = ()


class Carrier:
    """Any thread may use it."""

    def __init__(self, rest: HomeAssistantRest, guarded: frozenset[str]) -> None:
        """`guarded` are the domains of entities that are switched after a yes only."""
        self._rest, self._guarded = rest, guarded

    def carry_out(self, call: Call, home: Home, needs_yes: YesFor, *, many: bool) -> Result:
        """Carry a call out, or answer it, once; `many` is whether it may be about several entities without a place. Raises NeedsYes."""
        try:
            return self._attempt(call, home, needs_yes, many)
        except (Unfound, HomeAssistantError) as error:
            return _failed(call, error)

    def _attempt(self, call: Call, home: Home, needs_yes: YesFor, many: bool) -> Result:
        if "Timer" in call.name:
            raise Unfound(_TIMERS)
        if call.name in _UNTARGETED:
            if needs_yes is YesFor.ALL and call.name not in ASKING:
                raise NeedsYes(to_do(call, Targets(()), home.temperature_unit))
            return _told(call, Targets(()), self._rest.handle(call.name, call.arguments), home)
        states = {str(state.get("entity_id")): state for state in self._rest.states()}
        values = {entity: str(state.get("state")) for entity, state in states.items()}
        targets = find(call, home, values, many=many or call.name in ASKING)
        if call.name in ASKING:
            return _answered(call, targets.entities, states, home)
        attributes = {entity: state.get("attributes") or {} for entity, state in states.items()}
        if wrong := out_of_range(call, targets.entities, attributes, home.temperature_unit):
            raise Unfound(wrong)
        opens = any(map(self._opens, targets.entities))
        if needs_yes is YesFor.ALL or (opens and needs_yes is YesFor.GUARDED):
            raise NeedsYes(to_do(call, targets, home.temperature_unit), opens=opens)
        return self._switched(call, targets, home)

    def _opens(self, entity: Entity) -> bool:
        """Whether it opens the house, by its domain or, of what can be anything, by its names."""
        if entity.domain in self._guarded:
            return True
        said = {word for name in entity.names for word in words(name)}
        return bool(self._guarded) and entity.domain in _ANYTHING and not _OPENING.isdisjoint(said)

    def _switched(self, call: Call, targets: Targets, home: Home) -> Result:
        values = {slot: value for slot, value in call.arguments.items() if slot not in _PLACING}
        if call.name == "HassVacuumCleanArea":
            values["area"] = call.arguments.get("area")
        if targets.together is not None:
            return _told(call, targets, self._rest.handle(call.name, {**values, **targets.together}), home)
        results: list[Result] = []
        for entity in targets.entities:
            try:
                answer = self._rest.handle(call.name, {**values, "name": entity.id})
                results.append(_told(call, Targets((entity,)), answer, home))
            except HomeAssistantError as error:
                results.append(_failed(call, error))
                if isinstance(error, HomeAssistantSilent):
                    break  # the others would wait as long
        if len(results) == 1:
            return results[0]
        done = tuple(entity for entity, result in zip(targets.entities, results, strict=False) if result.done)
        failures = [result.say for result in results if not result.done]
        told = [was_done(call, Targets(done, where=targets.where), home.temperature_unit)] if done else []
        names = tuple(name for result in results for name in result.targets)
        return Result(call, not failures, " ".join([*told, *dict.fromkeys(failures)]), names)


def _failed(call: Call, error: Exception) -> Result:
    if isinstance(error, HomeAssistantSilent):
        return Result(call, done=False, say="Home Assistant has not answered, so I don't know whether that was done.")
    return Result(call, done=False, say=f"{str(error).rstrip('.')}.")


def _told(call: Call, targets: Targets, answer: dict[str, Any], home: Home) -> Result:
    """What Home Assistant says of a call. It counts as done if entities are named on which it succeeded."""
    spoken = _speech(answer)
    if call.name in ASKING:
        return Result(call, done=True, say=spoken or clock_told(answer) or "I don't know.")
    success, failed = (_names(answer, which) for which in ("success", "failed"))
    # Home Assistant 2025.4 tells the failure of a call about no entity in words alone, and says nothing when it was done.
    is_refused = not success if targets.entities else bool(spoken)
    if is_refused or answer.get("response_type") == "error":
        what = f" with {targets.named}" if targets.entities else ""
        return Result(call, done=False, say=spoken or f"Home Assistant could not do that{what}.")
    say = spoken or was_done(call, targets, home.temperature_unit)
    if failed:
        say = f"It worked with {', '.join(success)}, but not with {', '.join(failed)}."
    return Result(call, not failed, say, success)


def _names(answer: dict[str, Any], which: str) -> tuple[str, ...]:
    """The names of entities that an answer lists."""
    data = answer.get("data")
    listed = data.get(which) if isinstance(data, dict) else None
    entries = [each for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []
    names = [sentence(str(each.get("name"))) for each in entries if each.get("type") == "entity"]
    return tuple(names[:_MOST_FAILED])


def _answered(call: Call, entities: Sequence[Entity], states: dict[str, dict[str, Any]], home: Home) -> Result:
    if call.name == "HassGetWeather":
        say = weather_told(entities[0], states)
    elif call.name == "HassClimateGetTemperature":
        say = temperature_told(entities, states, home.temperature_unit)
    else:
        say = states_told(call, entities, states)
    return Result(call, done=True, say=say, targets=tuple(entity.name for entity in entities))


def _speech(answer: dict[str, Any]) -> str:
    """What Home Assistant says; mostly nothing for its own intents, whose sentences its own conversation agent has."""
    speech = answer.get("speech")
    plain = speech.get("plain") if isinstance(speech, dict) else None
    text = plain.get("speech") if isinstance(plain, dict) else None
    return sentence(text) if isinstance(text, str) else ""
