"""A fleet that is told what hubs and nodes would publish, by a clock that a test moves."""

from __future__ import annotations

import json
from typing import Any

from hub.fleet.fleet import Fleet
from hub.fleet.hubs import HubView
from hub.fleet.nodes import NodeView
from shared.topics import Topics
from tests.clock import Clock

INFO = {"pair": "home", "target": "home/float32", "device": "cpu", "version": "0.1.0"}
COUNTERS = ("committed", "drafted", "accepted", "target_forwards", "prefill_forwards", "forward_us", "rows", "faults")


class PublishedFleet:
    """What is told here is new, unless it is said to be what the broker had kept."""

    def __init__(self) -> None:
        self.clock = Clock(1000.0)
        self.fleet = Fleet(Topics(), self.clock)

    def hub(self, name: str, leaf: str, value: object, *, kept: bool = False) -> None:
        self.fleet.take_hub(f"sled/hub/{name}/{leaf}", _payload(value), kept=kept)

    def node(self, name: str, leaf: str, value: object, *, kept: bool = False) -> None:
        self.fleet.take_node(f"sled/node/{name}/{leaf}", _payload(value), kept=kept)

    def start_hub(self, name: str, *, kept: bool = False, **info: object) -> None:
        self.hub(name, "info", INFO | info, kept=kept)
        self.hub(name, "status", {"online": True}, kept=kept)

    def count(self, name: str, at_s: float, *, kept: bool = False, **more: Any) -> None:
        """A hub's `stats` at `at_s` of its own clock."""
        counters = dict.fromkeys(COUNTERS, 0) | {"sessions": 1}
        self.hub(name, "stats", counters | {"at_us": int(1e6 * at_s)} | more, kept=kept)

    def start_node(self, name: str, *, kept: bool = False, **stats: Any) -> None:
        self.node(name, "info", {"pair": "home", "version": "0.1.0", "format": 1}, kept=kept)
        self.node(name, "status", {"online": True, "instance": "a", "age_s": 1.0}, kept=kept)
        self.node(name, "stats", {"answers": 0, "waiting": 0, "answering": 0, "set_mode": "auto"} | stats, kept=kept)

    def hub_view(self, name: str) -> HubView:
        return next(each for each in self.fleet.view.hubs if each.name == name)

    def node_view(self, name: str) -> NodeView:
        return next(each for each in self.fleet.view.nodes if each.name == name)


def _payload(value: object) -> bytes:
    return value if isinstance(value, bytes) else json.dumps(value).encode()
