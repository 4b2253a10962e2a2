"""When who was out of reach, and how long an answer then took to go on once everything that it needs was back."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from tools.chaos.schedule import BROKER


@dataclass(frozen=True)
class Commit:
    """Tokens that an answer got: when (`time.monotonic`), and from which hub."""

    at: float
    hub: str


@dataclass(frozen=True)
class _Change:
    at: float
    part: str
    by: int  # 1: one more reason why the part is out of reach; -1: one less


@dataclass(frozen=True)
class _Stretch:
    """A time in which a node had everything that it needs."""

    begin: float
    end: float


class Outages:
    """Parts are the broker, each program by its name, and its lane by `lane_of`. All are in reach at the begin."""

    def __init__(self, hubs: Sequence[str]) -> None:
        self._hubs = tuple(hubs)
        self._lock = threading.Lock()
        self._changes: list[_Change] = []
        self._lost: list[tuple[float, str]] = []

    def down(self, part: str) -> None:
        """From now on the part is out of reach, for one more reason."""
        self._note(part, 1)

    def up(self, part: str) -> None:
        """One reason less."""
        self._note(part, -1)

    def lost(self, topic: str) -> None:
        """A message was lost just now."""
        with self._lock:
            self._lost.append((time.monotonic(), topic))

    def recoveries(self, node: str, began: float, commits: Sequence[Commit]) -> list[float]:
        """Seconds for each time that an answer which began then had to wait for something.

        A wait ends with the answer's next tokens. It is counted from when the node, its lane, the broker and some hub
        were all in reach again, or, where they were so all the time, from the last thing that happened to one of
        them, to the answer's own hub or to a message of the node.
        """
        stretches = self.stretches(node)
        found = []
        since, hub = began, ""
        for commit in commits:
            whole = next((s for s in stretches if s.begin <= commit.at < s.end), None)
            happened = self._happened(node, hub, since, commit.at)
            if whole is not None and (happened or whole.begin > since):
                found.append(commit.at - max(since, whole.begin, *happened))
            since, hub = commit.at, commit.hub
        return found

    def stretches(self, node: str) -> list[_Stretch]:
        """When the node had everything: itself, its lane, the broker, and a hub with its lane."""
        missing: Counter[str] = Counter()
        stretches, begin = [], 0.0
        good = True
        for change in self._in_order():
            missing[change.part] += change.by
            is_good = not any(missing[part] for part in (node, lane_of(node), BROKER)) and any(
                not missing[hub] and not missing[lane_of(hub)] for hub in self._hubs
            )
            if good and not is_good:
                stretches.append(_Stretch(begin, change.at))
            elif is_good and not good:
                begin = change.at
            good = is_good
        return [*stretches, _Stretch(begin, float("inf"))] if good else stretches

    def _happened(self, node: str, hub: str, begin: float, end: float) -> list[float]:
        """When something happened to what the node uses, or to a message of its own."""
        hubs = (hub,) if hub else self._hubs
        used = {node, lane_of(node), BROKER, *hubs, *map(lane_of, hubs)}
        changes = [c.at for c in self._in_order() if begin < c.at < end and c.by > 0 and c.part in used]
        with self._lock:
            return changes + [at for at, topic in self._lost if begin < at < end and node in topic.split("/")]

    def _note(self, part: str, by: int) -> None:
        with self._lock:
            self._changes.append(_Change(time.monotonic(), part, by))

    def _in_order(self) -> list[_Change]:
        with self._lock:
            return sorted(self._changes, key=lambda change: change.at)


def lane_of(program: str) -> str:
    """The name of a program's lane among the parts."""
    return f"{program}/lane"
