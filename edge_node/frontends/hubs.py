"""The hubs on a broker, as they tell about themselves."""

from __future__ import annotations

import logging

from edge_node.link.directory import HubDirectory
from edge_node.settings import NodeSettings
from shared.errors import NoHub, ProtocolError
from shared.malformed import MalformedFrames
from shared.mqtt import MqttLink
from shared.streams import put_json
from shared.table import put_table
from shared.topics import Topics

log = logging.getLogger(__name__)

_COLUMNS = ("hub", "online", "pair", "target", "sessions", "version")


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
    put_table(_COLUMNS, [(hub, *(facts.get(column) for column in _COLUMNS[1:])) for hub, facts in found.items()])


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
