"""A broker, hubs and a node, each with a lane of its own to the broker: what troubles of one sort are played on, one at a time."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from shared.settings import BrokerSettings
from tools.demo import hub_command
from tools.rig.broker import PrivateBroker, answers, private_broker
from tools.rig.killable import Killable
from tools.rig.lane import Disturbance, one_loss
from tools.rig.mqtt_proxy import MqttProxy, mqtt_proxy
from tools.rig.packets import Publish

NODE = "node"
_START_S = 120.0
_LOSS_S = 10.0  # seconds within which a message comes that is to be lost
_LOOK_S = 0.002


class _Heard:
    """When hubs said that they are online, by `time.monotonic`; noted by the proxy's thread."""

    def __init__(self) -> None:
        self.online_at: dict[str, float] = {}

    def passed(self, lane: str, upward: bool, publish: Publish) -> None:
        """A message has passed a lane."""
        if upward and publish.topic.endswith(f"/{lane}/status") and json.loads(publish.payload or b"{}").get("online"):
            self.online_at[lane] = time.monotonic()

    def disturbed(self, disturbance: Disturbance, publish: Publish) -> None:
        """Nobody asks for that."""


class Stage:
    """All of it is called by the main thread, or what it starts would end with the thread that started it."""

    def __init__(
        self, broker: PrivateBroker, proxy: MqttProxy, heard: _Heard, hubs: Sequence[str], folder: Path
    ) -> None:
        self.broker = Killable(broker.command, folder / "mosquitto.log")
        self.hubs: dict[str, Killable] = {}
        self._files, self._proxy, self._heard = broker, proxy, heard
        for hub in hubs:
            command = hub_command(self.settings(hub), hub, "--threads", "1", "--kv-memory", "64M")
            self.hubs[hub] = Killable(command, folder / f"{hub}.log")
        self.node = self.settings(NODE)

    def settings(self, name: str) -> BrokerSettings:
        """How that program reaches the broker: by a new lane."""
        return replace(self._files.settings(name), port=self._proxy.add(name).port)

    def start_broker(self) -> float:
        """Start the broker; when it accepted a connection, by `time.monotonic`. Raises RuntimeError where it does not."""
        self.broker.start()
        return self._await(lambda: answers(self._files.port), "mosquitto does not start")

    def start_hub(self, hub: str) -> float:
        """Start a hub; when it said that it is online, by `time.monotonic`. Raises RuntimeError where it does not."""
        self._heard.online_at.pop(hub, None)
        self.hubs[hub].start()
        self._await(lambda: hub in self._heard.online_at, f"hub {hub!r} does not come online")
        return self._heard.online_at[hub]

    def lose(self, leaf: str) -> float:
        """Lose the node's next `draft` or `verdict`; when it was lost. Raises RuntimeError where none comes."""
        lane = self._proxy.lanes[NODE]
        before = lane.counted[Disturbance.DROP]
        lane.open_window(one_loss(leaf, _LOSS_S))
        return self._await(lambda: lane.counted[Disturbance.DROP] > before, f"no {leaf} comes", _LOSS_S)

    def cut(self, seconds: float, *, closes: bool) -> float:
        """Cut the node's lane, and wait until that is over; when it was."""
        end = time.monotonic() + seconds
        self._proxy.cut(NODE, seconds, closes=closes)
        time.sleep(seconds)
        return end

    def close(self) -> None:
        """End everybody."""
        for program in (*self.hubs.values(), self.broker):
            program.kill()

    def _await(self, condition: Callable[[], bool], otherwise: str, seconds: float = _START_S) -> float:
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                raise RuntimeError(otherwise)
            time.sleep(_LOOK_S)
        return time.monotonic()


@contextmanager
def stage(hubs: Sequence[str]) -> Iterator[Stage]:
    """A stage with its broker running and its hubs still to be started; it ends with the context."""
    heard = _Heard()
    with (
        tempfile.TemporaryDirectory(prefix="sled-stage-") as folder,
        private_broker(Path(folder), hubs=hubs, nodes=[NODE]) as broker,
    ):
        broker.stop()  # the files are there; from now on it is started and killed like the others
        with mqtt_proxy(broker.port, 1, heard) as proxy:
            everybody = Stage(broker, proxy, heard, hubs, Path(folder))
            try:
                everybody.start_broker()
                yield everybody
            finally:
                everybody.close()
