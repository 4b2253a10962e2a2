"""The house that is tried: Home Assistant's demo entities in rooms, hundreds of others beside them, and one that must stay untouched."""

from __future__ import annotations

import queue
import threading
from contextlib import closing
from itertools import product
from typing import Any

from edge_node.home_assistant.socket import HomeAssistantSocket
from shared.errors import HomeAssistantError
from tools.home_assistant.instance import Instance

ASSISTANT = "conversation"
HIDDEN = "light.entrance_color_white_lights"  # is not exposed
ROOMS = {
    "bedroom": ("light.bed_light",),
    "living_room": ("light.ceiling_lights", "cover.living_room_window", "fan.living_room_fan", "climate.hvac"),
    "kitchen": ("light.kitchen_lights", "cover.kitchen_window", "lock.kitchen_door"),
    "office": ("light.office_rgbw_lights",),
    "hall": ("cover.hall_window", "lock.front_door", HIDDEN),
}
_EXPOSED = ("lock.front_door", "lock.kitchen_door")
_COLOURS = "amber azure bronze coral crimson ebony emerald indigo ivory jade lilac maroon ochre olive pearl ruby sage teal umber violet".split()  # noqa: SIM905
_THINGS = "beacon candle chandelier globe lantern pendant sconce spotlight string torch uplight wand heater pump kettle radio grill bell".split()  # noqa: SIM905
PLENTY = {f"input_boolean.{a}_{b}": f"{a} {b}".title() for a, b in product(_COLOURS, _THINGS)}  # 360 of them


def plenty() -> str:
    """The lines of the configuration for PLENTY."""
    lines = [f"  {entity.partition('.')[2]}:\n    name: {name}\n" for entity, name in PLENTY.items()]
    return "input_boolean:\n" + "".join(lines)


def furnish(home: Instance) -> None:
    """Put the entities into rooms, and expose those that the node may know."""
    registered = {entry["entity_id"] for entry in home.ask("config/entity_registry/list")}
    there = {area["area_id"] for area in home.ask("config/area_registry/list")}
    floor = home.ask("config/floor_registry/create", name="Ground Floor")["floor_id"]
    for room, entities in ROOMS.items():
        if room not in there:
            home.ask("config/area_registry/create", name=room.replace("_", " ").title())
        home.ask("config/area_registry/update", area_id=room, floor_id=floor)
        for entity in registered.intersection(entities):  # some demo entities have no unique id, and so no room
            home.ask("config/entity_registry/update", entity_id=entity, area_id=room)
    home.ask("config/entity_registry/update", entity_id="cover.hall_window", aliases=["hallway window"])
    expose(home, [*_EXPOSED, *PLENTY], wanted=True)
    expose(home, [HIDDEN], wanted=False)


def expose(home: Instance, entities: list[str], *, wanted: bool) -> None:
    """Let conversation agents know of entities, or not."""
    home.ask("homeassistant/expose_entity", assistants=[ASSISTANT], entity_ids=entities, should_expose=wanted)


class ServiceCalls:
    """What Home Assistant's services are called for, as its event bus tells."""

    def __init__(self, home: Instance) -> None:
        self._arrived: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._ends = threading.Event()
        self._listening = threading.Event()
        self._thread = threading.Thread(target=self._listen, args=(home,), daemon=True)
        self._thread.start()
        if not self._listening.wait(10):
            raise RuntimeError("Home Assistant tells of no calls")

    def taken(self) -> list[str]:
        """The calls since the last time, each as "domain.service entity,…"."""
        found = []
        while not self._arrived.empty():
            found.append(self._arrived.get())
        return found

    def close(self) -> None:
        """Listen no more."""
        self._ends.set()
        self._thread.join()

    def _listen(self, home: Instance) -> None:
        with closing(HomeAssistantSocket(home.url, home.token_file.read_text())) as socket:
            socket.ask("subscribe_events", event_type="call_service")
            self._listening.set()
            while not self._ends.is_set():
                try:
                    event = socket.next_event(0.2)
                except HomeAssistantError:
                    return
                if event is not None:
                    self._arrived.put(_shown(event))


def _shown(event: dict[str, Any]) -> str:
    data = event.get("data", {})
    given = data.get("service_data", {}).get("entity_id", [])
    entities = given if isinstance(given, list) else [given]
    return f"{data.get('domain')}.{data.get('service')} {','.join(entities)}"
