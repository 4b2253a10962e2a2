"""What a node knows of the home, shown."""

from __future__ import annotations

import queue
from collections.abc import Sequence
from contextlib import closing
from typing import Any

from edge_node.home_assistant.follower import HomeFollower
from edge_node.home_assistant.home import Entity, Home, read_home
from edge_node.home_assistant.socket import HomeAssistantSocket
from edge_node.settings import NodeSettings
from shared.errors import SettingsError
from shared.streams import put_json, put_line


def sync(settings: NodeSettings, *, as_json: bool, follow: bool) -> None:
    """Print what is exposed to conversation agents, once, or again with each change until Ctrl-C. Raises SledError."""
    given = settings.home_assistant
    if not given.url:
        raise SettingsError(
            "no Home Assistant is named; set home_assistant_url, such as http://homeassistant.local:8123, and home_assistant_token_file"
        )
    token = given.token()
    with closing(HomeAssistantSocket(given.url, token)) as socket:
        home = read_home(socket)
    show = _as_json if as_json else _as_text
    show(home, given.listed)
    if not follow:
        return
    homes: queue.SimpleQueue[Home] = queue.SimpleQueue()
    with closing(HomeFollower(given.url, token, homes.put)) as follower:
        follower.start()
        while True:
            changed = homes.get()
            if changed != home:
                home = changed
                show(home, given.listed)


def _as_text(home: Home, most: int) -> None:
    floors = {floor.id: floor.name for floor in home.floors}
    put_line(f"{len(home.devices)} entities are exposed to conversation agents")
    for area in (*home.areas, None):
        inside = [entity for entity in home.devices if entity.area == (area.id if area is not None else "")]
        if inside:
            where = (
                "no room" if area is None else area.name + (f" ({floors[area.floor]})" if area.floor in floors else "")
            )
            put_line(f"  {where}: {_listed(inside)}")
    if len(home.devices) > most:
        put_line(
            f"The pair is told of {most} devices at most: of those whose names have words in common with the request."
        )


def _listed(entities: Sequence[Entity]) -> str:
    return ", ".join(" = ".join(entity.names) for entity in entities)


def _as_json(home: Home, _: int) -> None:
    def named(each: Any) -> dict[str, Any]:
        return {"id": each.id, "names": list(each.names)}

    put_json(
        {
            "floors": [named(floor) for floor in home.floors],
            "areas": [{**named(area), "floor": area.floor} for area in home.areas],
            "entities": [
                {**named(entity), "area": entity.area, "device_class": entity.device_class} for entity in home.devices
            ],
        }
    )
