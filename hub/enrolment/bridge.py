"""A bridge of mosquitto's: a site's broker that carries the messages of its nodes to a hub's broker elsewhere, and back.

Each node's account at the hub's broker has a connection of its own, so that the rules there are the same as for a node that speaks for itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from shared.topics import Topics

_PACKET = 720_896  # bytes of the largest, as `configuration` has it


def bridge_lines(node: str, password: str, address: str, topics: Topics, *, ca: Path | str | None = None) -> list[str]:
    """The lines of mosquitto's configuration for one node; `address` is host:port of the hub's broker, `ca` the certificate that it is known by."""
    out = (topics.open("+", node), topics.draft("+", node), topics.fetch("+", node))
    retained = (topics.hub("+", leaf) for leaf in ("status", "info", "stats", "offer"))
    into = (*retained, topics.opened(node), topics.verdict("+", node), topics.piece("+", node))
    return [
        f"connection {node}",
        f"address {address}",
        f"remote_username {node}",
        f"remote_password {password}",
        f"remote_clientid {node}-bridge",
        f"local_clientid {node}-bridge",
        "bridge_protocol_version mqttv50",
        f"bridge_max_packet_size {_PACKET}",
        *([f"bridge_cafile {ca}"] if ca else []),
        "cleansession true",
        "notifications false",
        "try_private false",
        "restart_timeout 1 10",
        *(f"topic {topic} out 1" for topic in out),
        *(f"topic {topic} in 1" for topic in into),
    ]


def bridge_configuration(
    nodes: Iterable[tuple[str, str]], address: str, topics: Topics, *, ca: Path | str | None = None
) -> str:
    """A file for mosquitto's conf.d at the site: for each node and its password at the hub's broker a connection."""
    blocks = ["\n".join(bridge_lines(node, password, address, topics, ca=ca)) for node, password in nodes]
    return "\n\n".join([*blocks, ""])
