"""The fleet: which hubs and nodes there are, and how they stand. It is told what comes, and knows nothing of how."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from hub.fleet.facts import Published
from hub.fleet.hubs import HubView, SeenHub
from hub.fleet.nodes import NodeView, SeenNode
from hub.fleet.presence import Presence
from shared.errors import ProtocolError
from shared.json_object import json_object
from shared.topics import Topics

MOST_HUBS, MOST_NODES = 1_000, 10_000
MOST_STATE = 16_384  # bytes of a status, info or stats


class _Seen(Protocol):
    presence: Presence

    def take_info(self, info: Published) -> None: ...
    def take_stats(self, stats: Published, now: float) -> None: ...


S = TypeVar("S", bound=_Seen)


@dataclass(frozen=True)
class FleetView:
    """The fleet at one moment, by name."""

    hubs: tuple[HubView, ...]
    nodes: tuple[NodeView, ...]
    is_whole: bool  # whether there was room for all that were heard of


class Fleet:
    """The hubs and nodes below one topic prefix."""

    LEAVES = ("status", "info", "stats")  # of their topics that are retained

    def __init__(self, topics: Topics, clock: Callable[[], float] = time.monotonic) -> None:
        self._topics, self._clock = topics, clock
        self._hubs = _Group(SeenHub, MOST_HUBS, "hub")
        self._nodes = _Group(SeenNode, MOST_NODES, "node")

    def take_hub(self, topic: str, payload: bytes, *, kept: bool = False) -> None:
        """Note what a hub has published, or what the broker had `kept` of it. Raises ProtocolError where that is no state of a hub."""
        self._hubs.take(self._topics.hub_of(topic), topic, payload, self._clock(), kept=kept)

    def take_node(self, topic: str, payload: bytes, *, kept: bool = False) -> None:
        """The same of a node."""
        self._nodes.take(self._topics.node_of(topic), topic, payload, self._clock(), kept=kept)

    @property
    def is_empty(self) -> bool:
        """Whether nobody was heard of."""
        return not (self._hubs.seen or self._nodes.seen)

    @property
    def is_known(self) -> bool:
        """Whether waiting would tell no more: hubs that live have rates. A node tells all at once."""
        now = self._clock()
        return all(hub.is_known(now) for hub in self._hubs.seen.values())

    @property
    def view(self) -> FleetView:
        """How it stands now."""
        now = self._clock()
        hubs = tuple(seen.view(name, now) for name, seen in sorted(self._hubs.seen.items()))
        nodes = tuple(seen.view(name, now) for name, seen in sorted(self._nodes.seen.items()))
        return FleetView(hubs, nodes, self._hubs.is_whole and self._nodes.is_whole)


@dataclass
class _Group(Generic[S]):
    """All hubs, or all nodes, by name."""

    make: Callable[[], S]
    most: int
    what: str
    seen: dict[str, S] = field(default_factory=dict)
    is_whole: bool = True

    def take(self, name: str, topic: str, payload: bytes, now: float, *, kept: bool) -> None:
        if len(payload) > MOST_STATE:
            raise ProtocolError(f"{len(payload)} bytes are too many for a {self.what}'s state")
        leaf = topic.rsplit("/", 1)[-1]
        if not payload:
            if leaf == "status":
                self.seen.pop(name, None)  # somebody has cleared what the broker kept of it
            return
        value = json_object(payload, f"a {self.what}'s state")
        if not value:
            return  # a hub that starts tries the broker
        if name not in self.seen and len(self.seen) >= self.most:
            self.is_whole = False
            raise ProtocolError(f"more than {self.most} {self.what}s")
        seen = self.seen.setdefault(name, self.make())
        if leaf == "status":
            seen.presence.note(now, online=value.get("online") is True, kept=kept)
        elif leaf == "info":
            seen.presence.note(now, online=None, kept=kept)
            seen.take_info(value)
        else:
            # Who counts lives, also after the last will of a connection that it had before.
            seen.presence.note(now, online=None if kept else True, kept=kept)
            seen.take_stats(value, now)
