"""A schedule played: its events at their times, what follows from them, and time for the answers to come at the end."""

from __future__ import annotations

import heapq
import itertools
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.progress import Progress

from tools.chaos.outages import Outages
from tools.chaos.schedule import Event, Kind, Schedule
from tools.chaos.world import World, world
from tools.rig.chat import Chat

SETTLE_S = 85.0  # seconds that answers have to end, once nothing happens any more
_STEP_S = 0.005
_FOR_ROUND_S = 1.0  # seconds for which a kill waits for a round


@dataclass
class Played:
    """What a run brought. `reports` are those of tools/rig/worker.py, each with its node's name."""

    schedule: Schedule
    counted: Counter[str]
    chats: dict[int, Chat]
    reports: list[tuple[str, dict[str, Any]]]
    unfinished: dict[str, Chat]  # by node
    outages: Outages
    ended: list[str]  # a sentence for each program that ended by itself


def play(schedule: Schedule, bars: Progress) -> Played:
    """Play a schedule in a world of its own. Raises RuntimeError where the world does not come about."""
    with tempfile.TemporaryDirectory(prefix="sled-chaos-") as folder:
        task = bars.add_task("starting", total=schedule.seconds)
        with world(schedule, Path(folder)) as everybody:
            player = _Player(schedule, everybody)
            while not player.is_over:
                player.step()
                bars.update(task, completed=player.now, description=player.described)
                time.sleep(_STEP_S)
            desk = everybody.desk
            player.counted.update(everybody.counted())
            bars.remove_task(task)
            return Played(
                schedule,
                player.counted,
                desk.chats,
                list(desk.reports),
                desk.at_work,
                everybody.outages,
                everybody.ended,
            )


class _Player:
    """Steps through a schedule. What follows from an event (a thaw, a start) waits in `_due` for its time."""

    def __init__(self, schedule: Schedule, everybody: World) -> None:
        self.counted: Counter[str] = Counter()
        self._schedule = schedule
        self._world = everybody
        self._began = time.monotonic()
        self._order = itertools.count()
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._away: set[str] = set()  # who was ended and is to be started again
        for event in schedule.events:
            self._at(event.at, lambda event=event: self._do(event))  # type: ignore[misc]

    @property
    def now(self) -> float:
        """Seconds since the begin."""
        return time.monotonic() - self._began

    @property
    def is_over(self) -> bool:
        """Whether the schedule has been played, and all answers have come or have had their time."""
        if self.now < self._schedule.seconds or self._due:
            return False
        self._world.desk.is_open = False
        return self._world.desk.is_idle or self.now > self._schedule.seconds + SETTLE_S

    @property
    def described(self) -> str:
        """For the progress bar."""
        answers = sum("ids" in report for _, report in self._world.desk.reports)
        lost = sum("failed" in report for _, report in self._world.desk.reports)
        return f"{self.counted['kills']} kills, {self.counted['cuts']} cuts, {answers} answers, {lost} lost"

    def step(self) -> None:
        """Do what is due."""
        while self._due and self._due[0][0] <= self.now:
            heapq.heappop(self._due)[2]()
        self._world.watch_for_ends(self._away)

    def _at(self, at: float, work: Callable[[], None]) -> None:
        heapq.heappush(self._due, (at, next(self._order), work))

    def _do(self, event: Event) -> None:
        match event.kind:
            case Kind.KILL:
                self._at(self.now, lambda: self._kill(event, self.now + _FOR_ROUND_S))
            case Kind.RESTART if self._is_there(event.victim):
                self.counted["restarts"] += 1
                self._away.add(event.victim)
                self._world.end(event.victim, kill=False)
                self._start(event.victim)
            case Kind.FREEZE if self._is_there(event.victim):
                self.counted["freezes"] += 1
                self._world.freeze(event.victim)
                self._at(self.now + event.seconds, lambda: self._world.thaw(event.victim))
            case Kind.CUT:
                self.counted["cuts"] += 1
                self._world.cut(event)
                self._at(self.now + event.seconds, lambda: self._world.mended(event.victim))
            case Kind.DELAY | Kind.DROP | Kind.DOUBLE | Kind.REORDER:
                self._world.disturb(event)

    def _kill(self, event: Event, patience: float) -> None:
        """Kill the victim, if it should be so in the middle of a round as soon as there is one."""
        if not self._is_there(event.victim):
            return
        if event.in_round and not self._world.traffic.is_in_round(event.victim) and self.now < patience:
            self._at(self.now + _STEP_S, lambda: self._kill(event, patience))
            return
        self.counted["kills"] += 1
        self._away.add(event.victim)
        self.counted["kills_mid_round"] += self._world.end(event.victim, kill=True)
        self._at(self.now + event.seconds, lambda: self._start(event.victim))

    def _start(self, name: str) -> None:
        self._world.start(name)
        self._away.discard(name)

    def _is_there(self, name: str) -> bool:
        if self._world.is_down(name):
            self.counted["skipped"] += 1
            return False
        return True
