"""The hubs on a broker, as they tell about themselves."""

from __future__ import annotations

import logging

from edge_node.link.directory import HubDirectory
from edge_node.settings import NodeSettings
from shared.errors import NoHub, ProtocolError
from shared.malformed import MalformedFrames
from shared.mqtt import MqttLink
from shared.program import sentence
from shared.streams import put_json, put_line
from shared.topics import Topics

log = logging.getLogger(__name__)

_COLUMNS = ("hub", "online", "pair", "target", "sessions", "version")
_LONGEST = 40  # characters of a cell


def show_hubs(settings: NodeSettings, *, as_json: bool) -> None:
    """Print them, as a table or as one JSON object by name. Raises LinkError, NoHub where there are none."""
    told = _told(settings)
    found = {
        hub: {**seen.info, "online": seen.online, "sessions": seen.stats.get("sessions")}
        for hub in told.names
        for seen in [told.seen(hub)]
    }
    if as_json:
        put_json(found)
        return
    if not found:
        raise NoHub("no hub has told the broker of itself; start one with: sled-hub serve")
    rows = [_COLUMNS, *((hub, *(_cell(facts.get(column)) for column in _COLUMNS[1:])) for hub, facts in found.items())]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        put_line("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _told(settings: NodeSettings) -> HubDirectory:
    """What hubs have published last."""
    topics = Topics(settings.broker.prefix)
    told, malformed = HubDirectory(topics, settings.pair, b""), MalformedFrames(log)

    def note(topic: str, payload: bytes) -> None:
        try:
            told.take_in(topic, payload)
        except ProtocolError as error:
            malformed.note(topic, error)

    link = MqttLink(settings.broker, settings.name)
    link.connect()
    try:
        for leaf in HubDirectory.LEAVES:
            link.subscribe(topics.hub("+", leaf), note)
        link.flush()  # the broker's word on this comes behind what it has kept
    finally:
        link.close()
    return told


def _cell(value: object) -> str:
    text = {None: "", True: "yes", False: "no"}.get(value, str(value)) if isinstance(value, bool | None) else str(value)
    return sentence(text)[:_LONGEST]
