"""Which hubs there are, and which of them serves a node's pair."""

from __future__ import annotations

import json
import queue
import random
import time
from dataclasses import dataclass, field
from typing import Any

from shared.errors import IncompatiblePair, NoHub, ProtocolError
from shared.topics import Topics

_MAX_HUBS = 256
_MAX_RETAINED = 16_384  # bytes of a hub's status, info or stats


@dataclass
class SeenHub:
    """What a hub has published about itself."""

    online: bool = False
    info: dict[str, Any] = field(default_factory=dict)
    stats: dict[str, Any] = field(default_factory=dict)

    @property
    def load(self) -> float:
        """Open sessions: what hubs are compared by."""
        sessions = self.stats.get("sessions", 0)
        return float(sessions) if isinstance(sessions, int) and 0 <= sessions < 2**32 else 0.0


class HubDirectory:
    """The hubs below one topic prefix. The MQTT thread adds to it while another looks things up."""

    LEAVES = ("status", "info", "stats")  # of a hub's topics that are retained

    def __init__(self, topics: Topics, pair: str, tokenizer: bytes) -> None:
        """`pair` is the name of the node's pair, `tokenizer` the hash of its tokenizer."""
        self._topics = topics
        self._pair = pair
        self._tokenizer = tokenizer.hex()
        self._hubs: dict[str, SeenHub] = {}
        self._news: queue.Queue[None] = queue.Queue(1)  # wakes whoever waits for a hub

    def take_in(self, topic: str, payload: bytes) -> None:
        """Note what a hub has published. Raises ProtocolError where that is no state of a hub."""
        hub = self._topics.hub_of(topic)
        if len(payload) > _MAX_RETAINED:
            raise ProtocolError(f"{len(payload)} bytes are too many for a hub's state")
        if hub not in self._hubs and len(self._hubs) >= _MAX_HUBS:
            raise ProtocolError(f"more than {_MAX_HUBS} hubs")
        try:
            value = json.loads(payload) if payload else {}
        except (ValueError, RecursionError) as error:
            raise ProtocolError(f"a hub's state must be JSON: {error}") from None
        if not isinstance(value, dict):
            raise ProtocolError("a hub's state must be a JSON object")
        seen = self._hubs.setdefault(hub, SeenHub())
        leaf = topic.rsplit("/", 1)[-1]
        if leaf == "status":
            seen.online = value.get("online") is True
        elif leaf == "info":
            seen.info = value
        else:
            seen.stats = value
        if not self._news.full():
            self._news.put_nowait(None)

    def seen(self, hub: str) -> SeenHub:
        """What the hub has published last; an offline hub without facts when it has published nothing."""
        return self._hubs.get(hub) or SeenHub()

    def find(self, deadline: float, prefer: str | None) -> str:
        """A hub that serves the pair, waited for until `deadline` by `time.monotonic`.

        Of two hubs drawn at random the less loaded is taken, unless the hub `prefer` is there. Raises NoHub or
        IncompatiblePair.
        """
        while True:
            hubs = dict(self._hubs)
            serving = [h for h, seen in hubs.items() if seen.online and seen.info.get("pair") == self._pair]
            fitting = [h for h in serving if hubs[h].info.get("tokenizer") == self._tokenizer]
            if prefer in fitting and prefer is not None:
                return prefer
            if fitting:
                return min(random.sample(fitting, min(2, len(fitting))), key=lambda h: hubs[h].load)
            if time.monotonic() >= deadline:
                break
            try:
                self._news.get(timeout=max(0.01, deadline - time.monotonic()))
            except queue.Empty:
                continue
        if serving:
            raise IncompatiblePair(
                f"hub {serving[0]!r} serves {self._pair!r} with another tokenizer; "
                "install the same version of the pair on both sides"
            )
        online = {h: seen.info.get("pair") for h, seen in hubs.items() if seen.online}
        if online:
            offered = ", ".join(f"{h!r} serves {pair!r}" for h, pair in sorted(online.items()))
            raise NoHub(f"no hub serves the pair {self._pair!r} ({offered}); start one with: sled-hub serve")
        raise NoHub(f"no hub is online below {self._topics.prefix!r} on this broker; start one with: sled-hub serve")
