"""The hubs on a broker, as they tell about themselves."""

from __future__ import annotations

import json
from typing import Any

from edge_node.settings import NodeSettings
from shared.errors import NoHub, ProtocolError
from shared.mqtt import MqttLink
from shared.program import sentence
from shared.streams import put_json, put_line
from shared.topics import Topics

_LEAVES = ("status", "info", "stats")
_MOST = 1000  # hubs
_COLUMNS = ("hub", "online", "pair", "target", "sessions", "version")
_LONGEST = 40  # characters of a cell


def show_hubs(settings: NodeSettings, *, as_json: bool) -> None:
    """Print them, as a table or as one JSON object by name. Raises LinkError, NoHub where there are none."""
    told = _told(settings)
    found = {hub: {**facts.get("info", {}), **_counted(facts)} for hub, facts in sorted(told.items())}
    if as_json:
        put_json(found)
        return
    if not found:
        raise NoHub("no hub has told the broker of itself; start one with: sled-hub serve")
    rows = [_COLUMNS, *((hub, *(_cell(facts.get(column)) for column in _COLUMNS[1:])) for hub, facts in found.items())]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        put_line("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _counted(facts: dict[str, Any]) -> dict[str, Any]:
    return {"online": facts.get("status", {}).get("online") is True, "sessions": facts.get("stats", {}).get("sessions")}


def _told(settings: NodeSettings) -> dict[str, dict[str, Any]]:
    """What hubs have published last, by hub and leaf."""
    topics = Topics(settings.broker.prefix)
    told: dict[str, dict[str, Any]] = {}

    def note(topic: str, payload: bytes) -> None:
        try:
            hub, content = topics.hub_of(topic), json.loads(payload)
        except (ProtocolError, ValueError):
            return
        if isinstance(content, dict) and content and (hub in told or len(told) < _MOST):
            told.setdefault(hub, {})[topic.rpartition("/")[2]] = content

    link = MqttLink(settings.broker, settings.name)
    link.connect()
    try:
        for leaf in _LEAVES:
            link.subscribe(topics.hub("+", leaf), note)
        link.flush()  # the broker's word on this comes behind what it has kept
    finally:
        link.close()
    return told


def _cell(value: object) -> str:
    text = {None: "", True: "yes", False: "no"}.get(value, str(value)) if isinstance(value, bool | None) else str(value)
    return sentence(text)[:_LONGEST]
