"""Which entities a call is about: exposed ones only, found by the names that people use."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edge_node.dialogue.calls import Call
from edge_node.home_assistant.home import Entity, Home, Place
from edge_node.home_assistant.wording import KINDS, holds, key, words

# Entities that a call is about which names no kind.
_DOMAINS = {
    "HassLightSet": ("light",),
    "HassSetPosition": ("cover", "valve"),
    "HassFanSetSpeed": ("fan",),
    "HassClimateSetTemperature": ("climate",),
    "HassClimateGetTemperature": ("climate",),
    "HassMediaPause": ("media_player",),
    "HassMediaUnpause": ("media_player",),
    "HassMediaNext": ("media_player",),
    "HassMediaPrevious": ("media_player",),
    "HassMediaPlayerMute": ("media_player",),
    "HassMediaPlayerUnmute": ("media_player",),
    "HassSetVolume": ("media_player",),
    "HassSetVolumeRelative": ("media_player",),
    "HassMediaSearchAndPlay": ("media_player",),
    "HassListAddItem": ("todo",),
    "HassListCompleteItem": ("todo",),
    "HassListRemoveItem": ("todo",),
    "HassVacuumStart": ("vacuum",),
    "HassVacuumReturnToBase": ("vacuum",),
    "HassVacuumCleanArea": ("vacuum",),
    "HassLawnMowerStartMowing": ("lawn_mower",),
    "HassLawnMowerDock": ("lawn_mower",),
    "HassGetWeather": ("weather",),
}
_SWITCHED = ("light", "switch", "fan", "media_player", "input_boolean", "humidifier")  # by a room's name alone
_SINGLE = frozenset(
    {
        "HassClimateSetTemperature",
        "HassSetVolume",
        "HassSetVolumeRelative",
        "HassMediaSearchAndPlay",
        "HassListAddItem",
        "HassListCompleteItem",
        "HassListRemoveItem",
        "HassGetWeather",
    }
)  # calls that are about one entity
_WHILE = {
    "HassMediaPause": "playing",
    "HassMediaNext": "playing",
    "HassMediaPrevious": "playing",
    "HassMediaUnpause": "paused",
}  # a call that names no player is about those in this state
_SHOWN = 3  # names in a sentence


class Unfound(Exception):
    """Nothing is meant that there is, or it is not clear what; the text is a sentence for the user."""


@dataclass(frozen=True)
class Targets:
    """The entities that a call is about. `together` tells Home Assistant of all of them at once, if there is a way that means no others."""

    entities: tuple[Entity, ...]
    together: Mapping[str, Any] | None = None
    where: str = ""  # the room or floor that was said, in a sentence

    @property
    def named(self) -> str:
        """Them, in a sentence."""
        names = [entity.name for entity in self.entities]
        domains = {entity.domain for entity in self.entities}
        if len(names) <= _SHOWN or len(domains) > 1:
            return listed(names)
        kind = domains.pop().replace("_", " ")
        return f"{len(names)} {kind}{'es' if kind.endswith(('s', 'ch')) else 's'}{self.where}"


def find(call: Call, home: Home, states: Mapping[str, str], *, many: bool = True) -> Targets:
    """What a call is about; `states` are those of all entities, `many` is whether several may be meant without a place. Raises Unfound."""
    given = _as_meant(call.arguments, home)
    areas = _places(home.areas, given.get("area"), "room")
    floors = _places(home.floors, given.get("floor"), "floor")
    domains = _domains(call.name, given)
    classes = _texts(given.get("device_class"))
    name = str(given.get("name", ""))
    if not domains and not name and not classes:
        if not areas and not floors:
            raise Unfound("I don't know what you mean.")
        domains = _SWITCHED

    def among(entities: Sequence[Entity]) -> list[Entity]:
        found = list(_named(home, name, entities)) if name else list(entities)
        of_floor = {area.id for area in home.areas if area.floor in {floor.id for floor in floors}}
        return [
            entity
            for entity in found
            if (not domains or entity.domain in domains)
            and (not classes or entity.device_class in classes)
            and (not areas or entity.area in {area.id for area in areas})
            and (not floors or entity.area in of_floor)
        ]

    found = among(home.devices)
    if not (name or areas or floors) and call.name in _WHILE:
        found = [entity for entity in found if states.get(entity.id) == _WHILE[call.name]]
    if not found:
        raise Unfound(_nothing(name, areas, floors, domains, classes))
    if not (name or areas or floors or many) and len(found) > 1:
        raise Unfound(f"There are {len(found)}: {_some(found)}. Which one?")
    if name and len(found) > 1:
        raise Unfound(f"There are {len(found)} devices called {name}; say in which room.")
    if call.name in _SINGLE and len(found) > 1:
        raise Unfound(f"That could be {listed([entity.name for entity in found], 'or')}; say which.")
    together = None
    if len(found) > 1 and {entity.id for entity in among(home.entities)} == {entity.id for entity in found}:
        together = _together(areas, floors, domains, classes)
    return Targets(tuple(found), together, _where(areas, floors))


def listed(names: Sequence[str], joint: str = "and") -> str:
    """Names in a sentence: all of them, or how many there are."""
    if len(names) > _SHOWN:
        return f"{len(names)} devices"
    return f" {joint} ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def _some(entities: Sequence[Entity]) -> str:
    names = [entity.name for entity in entities]
    return ", ".join(names[:_SHOWN]) + (" and others" if len(names) > _SHOWN else "")


def _together(
    areas: Sequence[Place], floors: Sequence[Place], domains: Sequence[str], classes: Sequence[str]
) -> dict[str, Any] | None:
    if len(areas) > 1 or len(floors) > 1:
        return None
    slots: dict[str, Any] = {"domain": list(domains)} if domains else {}
    slots.update({"device_class": list(classes)} if classes else {})
    slots.update({"area": areas[0].id} if areas else {})
    slots.update({"floor": floors[0].id} if floors else {})
    return slots if areas or floors else None


def _as_meant(given: Mapping[str, Any], home: Home) -> Mapping[str, Any]:
    """The slots of a call, where a room and a kind of device were taken for a device's name, or a device's name for them."""
    area, name = str(given.get("area", "")), str(given.get("name", ""))
    if name and not area and not _named(home, name, home.devices):
        *before, last = words(name) or [""]
        room = next((place for place in home.areas if key(" ".join(before)) in map(key, place.names)), None)
        if last.removesuffix("s") in KINDS and room is not None:
            return {**_without(given, "name"), "area": room.name, "domain": KINDS[last.removesuffix("s")]}
    if area and not name and not any(key(area) in map(key, place.names) for place in home.areas):
        for entity in home.devices:
            for each in entity.names:
                *before, last = words(each) or [""]
                if before == words(area) and last.removesuffix("s") in KINDS:
                    return {**_without(given, "area", "domain", "device_class"), "name": each}
    return given


def _without(given: Mapping[str, Any], *slots: str) -> dict[str, Any]:
    return {slot: value for slot, value in given.items() if slot not in slots}


def _domains(call: str, given: Mapping[str, Any]) -> tuple[str, ...]:
    said = tuple(each.replace(" ", "_") for each in _texts(given.get("domain")))
    return said or _DOMAINS.get(call, ())


def _places(places: Iterable[Place], said: Any, what: str) -> list[Place]:
    """The places of that name; none where none is said. Raises Unfound."""
    if not said:
        return []
    found = [place for place in places if key(str(said)) in map(key, place.names)]
    if not found:
        raise Unfound(f"I know no {what} called {said}.")
    return found


def _named(home: Home, name: str, entities: Iterable[Entity]) -> Iterable[Entity]:
    """The entities of that name, or of that name behind the name of their room, or before it."""
    sought = key(name)
    exact = [entity for entity in entities if sought in map(key, entity.names)]
    if exact:
        return exact
    found = []
    for entity in entities:
        area = home.area(entity.area)
        rooms = area.names if area is not None else ()
        full = {key(f"{room} {each}") for room in rooms for each in entity.names}
        short = {key(f"{room} {name}") for room in rooms}
        alike = any(len(words(each)) == len(words(name)) and holds(words(each), words(name)) for each in entity.names)
        if sought in full or not short.isdisjoint(map(key, entity.names)) or alike:
            found.append(entity)
    return found


def _nothing(
    name: str, areas: Sequence[Place], floors: Sequence[Place], domains: Sequence[str], classes: Sequence[str]
) -> str:
    if name:
        return f"I know no device called {name}{_where(areas, ())}."
    kind = (classes or (domains if domains != _SWITCHED else ()) or ("device",))[0].replace("_", " ")
    return f"I know no {kind}{_where(areas, floors)}."


def _where(areas: Sequence[Place], floors: Sequence[Place]) -> str:
    return f" in the {areas[0].name}" if areas else f" on the {floors[0].name}" if floors else ""


def _texts(value: Any) -> tuple[str, ...]:
    values = value if isinstance(value, list) else [value] if value else []
    return tuple(str(each) for each in values)
