"""Which hubs there are, which of them live, and which serves a node's pair."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

from shared.errors import IncompatiblePair, NoHub, ProtocolError, SessionError
from shared.json_object import json_object
from shared.topics import Topics

_MAX_HUBS = 256
_MAX_RETAINED = 16_384  # bytes of a hub's status, info or stats
_SILENT_S = 1.6  # seconds without a word after which a hub is doubted: it speaks every second
_HARDLY_MORE = 0.1  # of the mean number of sessions
_GONE_S = 3.5  # seconds without a word after which it is not asked any more


@dataclass
class SeenHub:
    """What a hub has published about itself, and when (`time.monotonic`)."""

    online: bool = False  # as it said last, or its last will, or any word after that
    proven: bool = False  # whether any of it came while this node listened: what a broker kept may be years old
    heard_at: float = 0.0  # when the last word came, or what the broker had kept
    info: dict[str, Any] = field(default_factory=dict)
    stats: dict[str, Any] = field(default_factory=dict)

    @property
    def load(self) -> float:
        """Open sessions: what hubs are compared by."""
        sessions = self.stats.get("sessions", 0)
        return float(sessions) if isinstance(sessions, int) and 0 <= sessions < 2**32 else 0.0

    def silent_s(self, now: float) -> float:
        """Seconds since it said anything; infinite for one that is offline."""
        return now - self.heard_at if self.online else float("inf")


class HubDirectory:
    """The hubs below one topic prefix. The MQTT thread adds to it while another looks things up."""

    LEAVES = ("status", "info", "stats")  # of a hub's topics that are retained

    def __init__(
        self, topics: Topics, pair: str, tokenizer: bytes, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`pair` is the name of the node's pair, `tokenizer` the hash of its tokenizer."""
        self._topics = topics
        self._pair = pair
        self._tokenizer = tokenizer.hex()
        self._clock = clock
        self._hubs: dict[str, SeenHub] = {}

    def take_in(self, topic: str, payload: bytes, *, kept: bool = False) -> bool:
        """Note what a hub has published, or what the broker had `kept` of it; whether it has come or gone by that.

        A hub's stats prove that it lives, also after the last will of a connection that it had before. An empty object says
        nothing: a hub that starts writes that to try the broker.
        Raises ProtocolError where that is no state of a hub.
        """
        hub = self._topics.hub_of(topic)
        if len(payload) > _MAX_RETAINED:
            raise ProtocolError(f"{len(payload)} bytes are too many for a hub's state")
        if hub not in self._hubs and len(self._hubs) >= _MAX_HUBS:
            raise ProtocolError(f"more than {_MAX_HUBS} hubs")
        value = json_object(payload, "a hub's state") if payload else {}
        if payload and not value:
            return False
        seen = self._hubs.setdefault(hub, SeenHub())
        was = seen.online
        leaf = topic.rsplit("/", 1)[-1]
        if leaf == "status":
            seen.online = value.get("online") is True
        elif leaf == "info":
            seen.info = value
        else:
            seen.stats = value
        if payload and not kept:
            seen.proven = True
            seen.online = seen.online or leaf == "stats"
        if payload and not (kept and seen.proven):
            seen.heard_at = self._clock()
        return seen.online != was or leaf == "info"

    @property
    def names(self) -> list[str]:
        """The hubs of which anything was heard."""
        return sorted(self._hubs)

    def hear(self, hub: str) -> None:
        """Note that the hub has spoken to this node."""
        seen = self._hubs.get(hub)
        if seen is not None:
            seen.online = seen.proven = True
            seen.heard_at = self._clock()

    def take_leave(self, hub: str) -> None:
        """Note that the hub has told this node that it ends."""
        if hub in self._hubs:
            self._hubs[hub].online = False

    def seen(self, hub: str) -> SeenHub:
        """What the hub has published last; an offline hub without facts when it has published nothing."""
        return self._hubs.get(hub) or SeenHub()

    def is_silent(self, hub: str) -> bool:
        """Whether the hub has missed a word that it would have said by now."""
        return self.seen(hub).silent_s(self._clock()) > _SILENT_S

    def choose(self, prefer: str | None, avoid: Collection[str] = (), target: str | None = None) -> str | None:
        """A hub that serves the pair, if there is one; with `target` one that runs it.

        The hub `prefer` is taken if it is there. Else hubs that live come before those that the broker only tells of, and
        of two drawn at random the less loaded is taken. Those to `avoid` come last.
        """
        fitting = self._fitting(target)
        if prefer in fitting and prefer not in avoid and not self.is_silent(str(prefer)):
            return prefer
        for wanted in (
            [h for h in fitting if h not in avoid and self._hubs[h].proven and not self.is_silent(h)],
            [h for h in fitting if h not in avoid],
            fitting,
        ):
            if wanted:
                return min(random.sample(wanted, min(2, len(wanted))), key=lambda hub: self._hubs[hub].load)
        return None

    def excess(self, hub: str, target: str) -> float:
        """The share of a living hub's sessions by which it has more than the hubs of its target have on average.

        0 where it has hardly more: to move a session has its price.
        """
        loads = {each: self._hubs[each].load for each in self._fitting(target) if not self.is_silent(each)}
        if hub not in loads:
            return 0.0
        mean = sum(loads.values()) / len(loads)
        above = loads[hub] - mean
        return above / loads[hub] if above > max(1.0, _HARDLY_MORE * mean) else 0.0

    def why_none(self, target: str | None = None) -> SessionError:
        """Why no hub could be chosen when that was tried last, with `target` one that runs it."""
        hubs = {hub: seen for hub, seen in dict(self._hubs).items() if seen.online}
        now = self._clock()
        others = [hub for hub, seen in hubs.items() if seen.info.get("pair") == self._pair and not self._serves(seen)]
        serving = [hub for hub, seen in hubs.items() if self._serves(seen)]
        silent = [hub for hub in serving if hubs[hub].silent_s(now) >= _GONE_S]
        if fitting := self._fitting(target):
            return NoHub(f"hub {fitting[0]!r} has just come, and is asked now")
        if silent:
            return NoHub(
                f"hub {silent[0]!r} serves {self._pair!r} as the broker has it, but says nothing: it hangs or is "
                "gone; start it again"
            )
        if serving:
            return NoHub(
                f"no hub runs {target!r}, with which the answer began ({serving[0]!r} runs "
                f"{hubs[serving[0]].info.get('target')!r}); start one, or ask again"
            )
        if others:
            return IncompatiblePair(
                f"hub {others[0]!r} serves {self._pair!r} with another tokenizer; "
                "install the same version of the pair on both sides"
            )
        if hubs:
            offered = ", ".join(
                f"{hub!r} serves {seen.info['pair']!r}"
                if "pair" in seen.info
                else f"{hub!r} has not said what it serves"
                for hub, seen in sorted(hubs.items())
            )
            return NoHub(f"no hub serves the pair {self._pair!r} ({offered}); start one with: sled-hub serve")
        return NoHub(f"no hub is online below {self._topics.prefix!r} on this broker; start one with: sled-hub serve")

    def _fitting(self, target: str | None) -> list[str]:
        """The hubs that serve the pair and may live, with `target` those that run it."""
        now = self._clock()
        return [
            hub
            for hub, seen in dict(self._hubs).items()
            if self._serves(seen) and seen.silent_s(now) < _GONE_S and target in (None, seen.info.get("target"))
        ]

    def _serves(self, seen: SeenHub) -> bool:
        return seen.info.get("pair") == self._pair and seen.info.get("tokenizer") == self._tokenizer
