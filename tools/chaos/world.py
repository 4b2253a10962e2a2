"""Broker, hubs and nodes as processes of their own, each with a lane to the broker, and what can be done to them."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from shared.settings import BrokerSettings
from tools.chaos.chats import Desk
from tools.chaos.outages import lane_of
from tools.chaos.schedule import BROKER, Event, Schedule
from tools.chaos.witness import Witness
from tools.demo import hub_command
from tools.rig.broker import PrivateBroker, answers, private_broker
from tools.rig.killable import Killable
from tools.rig.lane import Disturbance, Window
from tools.rig.mqtt_proxy import MqttProxy, mqtt_proxy
from tools.rig.node_file import write_node_file

START_S = 120.0
_LONGEST_DELAY_S = 0.4
# How nodes decode, one way for each and then again from the first.
_WAYS: tuple[dict[str, str | bool], ...] = (
    {},
    {"mode": "stream"},
    {"mode": "speculate", "ahead": False},
    {"drafter": "auto"},
)
# Options of the hubs, in turn: the second one takes sessions' memory away in the middle of answers, and forgets a session that is
# silent for a while when another comes.
_HUBS = (("--kv-memory", "64M"), ("--kv-memory", "3M", "--budget", "32", "--max-sessions", "3"))
_WAIT_S = (
    60.0  # for which a node waits for a hub: with two killed within seconds there is none for as long as one loads
)


class World:
    """Everybody who takes part. All but what the proxy reports is called by the main thread."""

    def __init__(
        self, schedule: Schedule, broker: PrivateBroker, proxy: MqttProxy, witness: Witness, folder: Path
    ) -> None:
        self.outages = witness.outages
        self.traffic = witness.traffic
        self.desk = Desk(schedule.seed)
        self.ended: list[str] = []  # a sentence for each program that ended by itself
        self._repeated_starts = 0
        self._schedule = schedule
        self._folder = folder
        self._broker_port = broker.port
        self._proxy = proxy
        self._loading = witness.loading
        environment = {**os.environ, "XDG_CACHE_HOME": str(folder / "cache"), "OMP_NUM_THREADS": "1"}
        self.programs = {BROKER: Killable(broker.command, folder / "mosquitto.log")}
        for hub in schedule.hubs:
            options = _HUBS[schedule.hubs.index(hub) % len(_HUBS)]
            command = hub_command(self._way_of(hub, broker), hub, "--threads", "1", *options)
            self.programs[hub] = Killable(command, folder / f"{hub}.log", environment=environment)
        for number, node in enumerate(schedule.nodes):
            settings = folder / f"{node}.toml"
            way = _WAYS[number % len(_WAYS)]
            write_node_file(settings, node, self._way_of(node, broker), wait_s=_WAIT_S, guided=False, **way)
            command = [sys.executable, "-m", "tools.rig.worker", str(settings)]
            self.programs[node] = Killable(command, folder / f"{node}.log", pipes=True, environment=environment)

    def is_down(self, name: str) -> bool:
        """Whether a program is dead, frozen or not yet online."""
        program = self.programs[name]
        return not program.runs or program.is_frozen or name in self._loading

    def start(self, name: str) -> None:
        """Start a program that is down."""
        program = self.programs[name]
        if name in self._schedule.hubs:
            self._loading.add(name)
        program.start()
        if name == BROKER:
            _await(lambda: answers(self._broker_port), "mosquitto does not start")
            self.outages.up(name)
        elif name in self._schedule.nodes:
            self.outages.up(name)
            threading.Thread(target=self.desk.serve, args=(name, *program.pipes), daemon=True).start()

    def end(self, name: str, *, kill: bool) -> bool:
        """Kill a program or ask it to end; whether a round of its was under way."""
        was_in_round = self.traffic.is_in_round(name)
        self.outages.down(name)
        if kill:
            self.programs[name].kill()
        else:
            self.programs[name].end()
        self.traffic.ended(name)
        return was_in_round

    def freeze(self, name: str) -> None:
        """Stop a program where it is."""
        self.programs[name].freeze()
        self.outages.down(name)

    def thaw(self, name: str) -> None:
        """Let it go on."""
        self.programs[name].thaw()
        self.outages.up(name)

    def cut(self, event: Event) -> None:
        """Cut a lane."""
        self.outages.down(lane_of(event.victim))
        self._proxy.cut(event.victim, event.seconds, closes=event.share == 1)

    def mended(self, name: str) -> None:
        """A cut of that program's lane is over."""
        self.outages.up(lane_of(name))

    def disturb(self, event: Event) -> None:
        """Disturb single messages on a lane."""
        end = time.monotonic() + event.seconds
        self._proxy.lanes[event.victim].open_window(
            Window(Disturbance(event.kind.value), end, event.share, _LONGEST_DELAY_S)
        )

    def counted(self) -> dict[str, int]:
        """How many messages met each disturbance, and how often a hub found no broker when it started."""
        lanes = self._proxy.lanes.values()
        disturbed = {f"messages_{each.value}": sum(lane.counted[each] for lane in lanes) for each in Disturbance}
        return disturbed | {"repeated_starts": self._repeated_starts}

    def begin(self) -> None:
        """Start everybody, and wait until the hubs are online. Raises RuntimeError where they do not come."""
        for name in (BROKER, *self._schedule.hubs):
            self.outages.down(name)
            self.start(name)
        _await(lambda: not self._loading, "the hubs do not come online")
        for name in self._schedule.nodes:
            self.outages.down(name)
            self.start(name)

    def watch_for_ends(self, expected: set[str]) -> None:
        """Start again who has ended by itself, and note that it has; not those whose end was `expected`.

        A hub that finds no broker when it starts may end, as systemd would start it again: that counts in `repeated_starts`.
        """
        for name, program in self.programs.items():
            finished = name in self._schedule.nodes and not self.desk.is_open and name not in self.desk.at_work
            if program.runs or name in expected or finished:
                continue
            if name in self._loading:
                self._repeated_starts += 1
            else:
                self.ended.append(f"{name} ended by itself: {program.last_words()}")
                self.outages.down(name)
            self.start(name)

    def close(self) -> None:
        """End everybody."""
        for program in self.programs.values():
            program.kill()

    def _way_of(self, name: str, broker: PrivateBroker) -> BrokerSettings:
        return replace(broker.settings(name), port=self._proxy.add(name).port)


@contextmanager
def world(schedule: Schedule, folder: Path) -> Iterator[World]:
    """The world of a schedule, running, with its files in `folder`; it ends with the context."""
    witness = Witness(schedule.hubs)
    with private_broker(folder, hubs=schedule.hubs, nodes=schedule.nodes) as broker:
        broker.stop()  # the files are there; from now on it is started and killed like the others
        with mqtt_proxy(broker.port, schedule.seed, witness) as proxy:
            everybody = World(schedule, broker, proxy, witness, folder)
            try:
                everybody.begin()
                yield everybody
            finally:
                everybody.close()


def _await(condition: Callable[[], bool], otherwise: str) -> None:
    deadline = time.monotonic() + START_S
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError(otherwise)
        time.sleep(0.01)
