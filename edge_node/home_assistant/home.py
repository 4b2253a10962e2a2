"""What is in a home, as Home Assistant's registries tell."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from edge_node.home_assistant.socket import HomeAssistantSocket
from edge_node.home_assistant.wording import key
from shared.program import sentence

_ASSISTANT = "conversation"  # whose exposed entities a conversation agent is given
_MOST, _MOST_NAMES = 20_000, 32  # entities of a home, and names of one
_LONGEST_NAME = 100  # characters


@dataclass(frozen=True)
class Place:
    """An area or a floor. `floor` is an area's."""

    id: str
    names: tuple[str, ...]  # its name, then its aliases
    floor: str = ""

    @property
    def name(self) -> str:
        """What it is called."""
        return self.names[0]


@dataclass(frozen=True)
class Entity:
    """An entity."""

    id: str
    names: tuple[str, ...]  # its name, then its aliases
    area: str = ""  # an area's id
    device_class: str = ""

    @property
    def name(self) -> str:
        """What it is called."""
        return self.names[0]

    @property
    def domain(self) -> str:
        """The kind of entity that it is."""
        return self.id.partition(".")[0]


@dataclass(frozen=True)
class Home:
    """All entities, of which only those in `exposed` may be listed, asked for and switched."""

    areas: tuple[Place, ...] = ()
    floors: tuple[Place, ...] = ()
    entities: tuple[Entity, ...] = ()
    exposed: frozenset[str] = frozenset()
    temperature_unit: str = "°C"

    @property
    def devices(self) -> tuple[Entity, ...]:
        """The exposed entities."""
        return tuple(entity for entity in self.entities if entity.id in self.exposed)

    @property
    def inhabited(self) -> tuple[Place, ...]:
        """The areas in which something is exposed."""
        used = {entity.area for entity in self.devices}
        return tuple(area for area in self.areas if area.id in used)

    @property
    def storeys(self) -> tuple[Place, ...]:
        """The floors with such areas."""
        used = {area.floor for area in self.inhabited}
        return tuple(floor for floor in self.floors if floor.id in used)

    def area(self, area_id: str) -> Place | None:
        """The area of that id."""
        return next((area for area in self.areas if area.id == area_id), None)


def read_home(socket: HomeAssistantSocket) -> Home:
    """The home that Home Assistant tells of. Raises HomeAssistantError."""
    ask = socket.ask
    floors = tuple(_places(ask("config/floor_registry/list"), "floor_id"))
    areas = tuple(_places(ask("config/area_registry/list"), "area_id"))
    devices = {each.get("id"): each.get("area_id") or "" for each in _records(ask("config/device_registry/list"))}
    registered = {str(each.get("entity_id")): each for each in _records(ask("config/entity_registry/list"))}
    told = ask("homeassistant/expose_entity/list")
    shown = told.get("exposed_entities", {}) if isinstance(told, dict) else {}
    exposed = frozenset(entity for entity, by in shown.items() if isinstance(by, dict) and by.get(_ASSISTANT) is True)
    # Aliases are told for entities that are asked for by their ids.
    ids = [entity for entity in exposed if entity in registered]
    details = ask("config/entity_registry/get_entries", entity_ids=ids) if ids else {}
    states = _records(ask("get_states"))
    entities = []
    for state in states[:_MOST]:
        entity_id, attributes = str(state.get("entity_id")), state.get("attributes") or {}
        entry = registered.get(entity_id, {})
        if entry.get("disabled_by") or "." not in entity_id:
            continue
        detail = details.get(entity_id) if isinstance(details, dict) else None
        aliases = detail.get("aliases") if isinstance(detail, dict) else None
        given = attributes.get("friendly_name") or entity_id.partition(".")[2].replace("_", " ")
        entities.append(
            Entity(
                entity_id,
                _names(given, aliases),
                str(entry.get("area_id") or devices.get(entry.get("device_id")) or ""),
                str(attributes.get("device_class") or ""),
            )
        )
    units = ask("get_config")
    unit = units.get("unit_system", {}).get("temperature") if isinstance(units, dict) else None
    return Home(areas, floors, tuple(entities), exposed, "°F" if unit == "°F" else "°C")


def _places(listed: Any, id_key: str) -> Iterable[Place]:
    for each in _records(listed):
        names = _names(each.get("name"), each.get("aliases"))
        yield Place(str(each.get(id_key)), names, str(each.get("floor_id") or ""))


def _names(name: Any, aliases: Any) -> tuple[str, ...]:
    """What something is called: text that can be shown, and holds a word."""
    given = [name, *sorted(map(str, aliases))] if isinstance(aliases, list) else [name]
    shown = (sentence(str(each))[:_LONGEST_NAME] for each in given[:_MOST_NAMES] if each and key(str(each)))
    return tuple(dict.fromkeys(shown)) or ("?",)


def _records(listed: Any) -> list[dict[str, Any]]:
    return [each for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []
