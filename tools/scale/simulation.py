"""Devices and hubs in simulated time (SimPy): the hub's loop with measured costs, its own scheduler and its window's rule."""

from __future__ import annotations

import random
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import simpy

from hub.engine.forward_time import ForwardTime
from hub.engine.scheduler import Scheduler
from hub.sessions.session import HubSession

_PATIENCE_S = 0.1  # for which a hub waits for a session in the middle of an answer, at most
_SLACK = 1.5  # times its usual pause
_RATE = 0.3  # weight of the last pause in the usual one
_BUDGET = 2048  # ids of a forward

Process = Generator[simpy.Event, Any, None]


@dataclass(frozen=True)
class Costs:
    """Seconds, as they were measured. A forward of n rows with m ids takes fixed_s + row_s · n + token_s · m, and around it the hub needs step_s and message_s · n."""

    fixed_s: float
    row_s: float
    token_s: float
    step_s: float = 0.0
    message_s: float = 0.0
    way_s: float = 0.0  # of a message between device and hub

    def forward_s(self, rows: int, ids: int) -> float:
        """Of a forward."""
        return self.fixed_s + self.row_s * rows + self.token_s * ids


@dataclass(frozen=True)
class Habits:
    """How devices ask: blocks of `length` drafted tokens, `answer` tokens each time, and `think_s` seconds between two answers on average."""

    acceptance: float = 0.8
    length: int = 4
    draft_s: float = 0.0  # of a drafted token
    answer: int = 96
    think_s: float = 0.0
    prompt: int = 1  # ids that an answer begins with, which the hub has not computed


@dataclass
class Outcome:
    """What came of it, after the warm-up."""

    tokens: list[int] = field(default_factory=list)  # of each device
    answers_s: list[float] = field(default_factory=list)
    forwards: int = 0
    rows: int = 0
    busy_s: list[float] = field(default_factory=list)  # of each hub
    seconds: float = 0.0

    @property
    def tokens_per_s(self) -> float:
        """Of all devices together."""
        return sum(self.tokens) / self.seconds


@dataclass(eq=False)
class _Draft:
    device: _Device
    drafted: int
    ids: int
    answered: simpy.Event


class _Device:
    def __init__(self, world: _World, number: int, hub: _Hub) -> None:
        self.hub, self.number = hub, number
        self.pause_s = _PATIENCE_S
        self._world = world
        self._rng = random.Random(number)

    def run(self) -> Process:
        world, habits = self._world, self._world.habits
        if habits.think_s:
            yield world.env.timeout(self._rng.uniform(0, habits.think_s))
        while True:
            began, left = world.env.now, habits.answer
            self.hub.sessions += 1
            left -= yield from self._round(0, habits.prompt)
            while left > 0:
                length = min(habits.length, max(0, left - 1))
                if length:
                    yield world.env.timeout(length * habits.draft_s)
                left -= yield from self._round(length, 1 + length)
            self.hub.sessions -= 1
            if began >= world.warm_up_s:
                world.outcome.answers_s.append(world.env.now - began)
            if habits.think_s:
                yield world.env.timeout(self._rng.expovariate(1 / habits.think_s))
                self.hub = world.pick()

    def _round(self, drafted: int, ids: int) -> Generator[simpy.Event, Any, int]:
        """Send a draft, await its verdict; the tokens that it brings."""
        world = self._world
        yield world.env.timeout(world.costs.way_s)
        draft = _Draft(self, drafted, ids, world.env.event())
        self.hub.submit(draft)
        verified = yield draft.answered
        yield world.env.timeout(world.costs.way_s)
        accepted = next((n for n in range(verified) if self._rng.random() >= world.habits.acceptance), verified)
        if world.env.now >= world.warm_up_s:
            world.outcome.tokens[self.number] += accepted + 1
        return cast(int, accepted + 1)


class _Hub:
    def __init__(self, world: _World, number: int) -> None:
        self.sessions = 0
        self._world, self._number = world, number
        self._waiting: list[_Draft] = []
        self._came = world.env.event()
        self._asked: dict[_Device, float] = {}  # when each got the verdict that it answers
        costs = world.costs
        self._scheduler = Scheduler(_BUDGET, ForwardTime(costs.fixed_s, costs.row_s, costs.token_s), 16)

    def submit(self, draft: _Draft) -> None:
        now = self._world.env.now
        asked = self._asked.pop(draft.device, None)
        if asked is not None and now - asked < _PATIENCE_S:
            draft.device.pause_s += _RATE * (now - asked - draft.device.pause_s)
        self._waiting.append(draft)
        if not self._came.triggered:
            self._came.succeed()

    def run(self) -> Process:
        env, costs, outcome = self._world.env, self._world.costs, self._world.outcome
        while True:
            if not self._waiting:
                yield self._arrival()
            opened = env.now
            while (wait := self._worth_waiting(opened)) > 0:
                yield self._arrival() | env.timeout(wait)
            batch, self._waiting = self._waiting, []
            lengths = self._lengths(batch)
            ids = sum(d.ids - d.drafted + length for d, length in zip(batch, lengths, strict=True))
            took = costs.forward_s(len(batch), ids) + costs.step_s + costs.message_s * len(batch)
            yield env.timeout(took)
            if env.now >= self._world.warm_up_s:
                outcome.busy_s[self._number] += took
                outcome.forwards += 1
                outcome.rows += len(batch)
            for draft, length in zip(batch, lengths, strict=True):
                self._asked[draft.device] = env.now
                draft.answered.succeed(length)

    def _arrival(self) -> simpy.Event:
        if self._came.triggered:
            self._came = self._world.env.event()
        return self._came

    def _worth_waiting(self, opened: float) -> float:
        now, closes = self._world.env.now, opened + self._world.costs.fixed_s
        self._asked = {device: at for device, at in self._asked.items() if now - at < _PATIENCE_S}
        dues = (at + _SLACK * device.pause_s for device, at in self._asked.items())
        return max((due for due in dues if due <= closes), default=now) - now

    def _lengths(self, batch: Sequence[_Draft]) -> list[int]:
        """How many drafted tokens of each are verified, by the hub's own rule."""
        rate = SimpleNamespace(rate=self._world.habits.acceptance)
        steps = [cast(HubSession, SimpleNamespace(acceptance=rate, drafted=range(d.drafted))) for d in batch]
        return self._scheduler.lengths(steps, _BUDGET)[0]


class _World:
    def __init__(self, costs: Costs, habits: Habits, devices: int, hubs: int, warm_up_s: float) -> None:
        self.env = simpy.Environment()
        self.costs, self.habits, self.warm_up_s = costs, habits, warm_up_s
        self.outcome = Outcome(tokens=[0] * devices, busy_s=[0.0] * hubs)
        self._rng = random.Random(devices)
        self._hubs = [_Hub(self, number) for number in range(hubs)]
        for hub in self._hubs:
            self.env.process(hub.run())
        for number in range(devices):
            self.env.process(_Device(self, number, self.pick()).run())

    def pick(self) -> _Hub:
        """The less loaded one of two, as nodes choose."""
        return min(self._rng.choices(self._hubs, k=2), key=lambda hub: hub.sessions)


def simulate(
    costs: Costs, habits: Habits, devices: int, hubs: int = 1, seconds: float = 60.0, warm_up_s: float = 10.0
) -> Outcome:
    """So many devices at so many hubs for `seconds` of simulated time behind a warm-up."""
    world = _World(costs, habits, devices, hubs, warm_up_s)
    world.env.run(until=warm_up_s + seconds)
    world.outcome.seconds = seconds
    return world.outcome
