"""What happens to whom, and when: drawn from a seed, kept as JSON, replayed and shrunk."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from enum import Enum
from pathlib import Path

from shared.errors import SettingsError
from shared.text_file import read_text

BROKER = "broker"
_MOST_BYTES = 2**26  # of a schedule: days of events


class Kind(str, Enum):
    """What may happen."""

    KILL = "kill"  # SIGKILL, and started again after `seconds`
    RESTART = "restart"  # SIGTERM, and started again once it has ended
    FREEZE = "freeze"  # SIGSTOP, and SIGCONT after `seconds`
    CUT = "cut"  # nothing passes on the victim's lane for `seconds`; then its connections close if `share` is 1
    DELAY = "delay"  # for `seconds`, the `share` of messages on the victim's lane come up to 0.4 s late
    DROP = "drop"  # … are lost
    DOUBLE = "double"  # … come twice
    REORDER = "reorder"  # … come behind the next one


@dataclass(frozen=True)
class Event:
    """One thing that happens, `at` seconds after the begin."""

    at: float
    kind: Kind
    victim: str  # the broker, or a hub or a node: the program, or its lane
    seconds: float = 0.0
    share: float = 1.0
    in_round: bool = False  # a kill waits, for a second at most, until a round of the victim is under way


@dataclass(frozen=True)
class Schedule:
    """A run: what it is drawn from, who takes part, how long it takes, and its events by time."""

    seed: int
    seconds: float
    hubs: tuple[str, ...]
    nodes: tuple[str, ...]
    events: tuple[Event, ...]

    def with_events(self, events: Sequence[Event]) -> Schedule:
        """The same run with other events, which ends when nothing more is to happen."""
        return replace(
            self, events=tuple(events), seconds=min(self.seconds, max((e.at for e in events), default=0.0) + 5)
        )

    def to_json(self) -> str:
        """For a file, and for who reads it."""
        head = {"seed": self.seed, "seconds": self.seconds, "hubs": self.hubs, "nodes": self.nodes}
        lines = ",\n".join(json.dumps(asdict(event)) for event in self.events)
        return f'{json.dumps(head)[:-1]}, "events": [\n{lines}\n]}}'

    @classmethod
    def read(cls, path: Path) -> Schedule:
        """The schedule in a file. Raises SettingsError where there is none."""
        try:
            value = json.loads(read_text(path, "the schedule", SettingsError, most=_MOST_BYTES))
            events = tuple(Event(**{**each, "kind": Kind(each["kind"])}) for each in value["events"])
            return cls(value["seed"], value["seconds"], tuple(value["hubs"]), tuple(value["nodes"]), events)
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise SettingsError(f"{path} is no schedule of tools.chaos: {error!r}") from None


_PACE_S = 1.25  # mean seconds between two events
_HUB_PAUSE_S = 18.0  # between two ends of a hub: it takes seconds to load, and the other one serves meanwhile
_IN_ROUND = 0.8  # share of the kills that wait for a round
# How often what happens to whom, out of their sum.
_WEIGHTS = {
    (Kind.KILL, "node"): 22,
    (Kind.KILL, BROKER): 10,
    (Kind.KILL, "hub"): 12,
    (Kind.RESTART, "hub"): 2,
    (Kind.RESTART, BROKER): 2,
    (Kind.RESTART, "node"): 2,
    (Kind.FREEZE, "hub"): 4,
    (Kind.FREEZE, BROKER): 3,
    (Kind.FREEZE, "node"): 4,
    (Kind.CUT, "hub"): 6,
    (Kind.CUT, "node"): 12,
    **{(kind, who): 2.5 for kind in (Kind.DELAY, Kind.DROP, Kind.DOUBLE, Kind.REORDER) for who in ("hub", "node")},
}


def draw(seed: int, seconds: float, hubs: Sequence[str], nodes: Sequence[str]) -> Schedule:
    """The schedule of a seed: the same each time."""
    rng = random.Random(seed)
    victims = {"node": nodes, "hub": hubs, BROKER: (BROKER,)}
    kinds = list(_WEIGHTS)
    events: list[Event] = []
    at, hub_ended = 1.0, -_HUB_PAUSE_S
    while (at := at + rng.expovariate(1 / _PACE_S)) < seconds:
        kind, who = rng.choices(kinds, list(_WEIGHTS.values()))[0]
        victim = rng.choice(victims[who])
        if who == "hub" and kind in (Kind.KILL, Kind.RESTART):
            if at - hub_ended < _HUB_PAUSE_S:
                continue
            hub_ended = at
        events.append(_event(rng, round(at, 3), kind, victim))
    return Schedule(seed, seconds, tuple(hubs), tuple(nodes), tuple(events))


def _event(rng: random.Random, at: float, kind: Kind, victim: str) -> Event:
    match kind:
        case Kind.KILL:
            return Event(at, kind, victim, round(rng.uniform(0, 1.5), 3), in_round=rng.random() < _IN_ROUND)
        case Kind.RESTART:
            return Event(at, kind, victim)
        case Kind.FREEZE:
            return Event(at, kind, victim, round(rng.uniform(1, 6), 3))
        case Kind.CUT:
            return Event(at, kind, victim, round(max(0.5, rng.uniform(0, 8) ** 2 / 8), 3), float(rng.random() < 0.5))
        case _:
            return Event(at, kind, victim, round(rng.uniform(1, 6), 3), round(rng.uniform(0.05, 0.4), 2))
