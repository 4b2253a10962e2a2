"""A broker, a hub and nodes as processes and threads on this machine, for benchmarks and tests."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from edge_node.link.node_link import NodeLink
from edge_node.settings import NodeSettings
from hub.enrolment.configuration import Listener
from shared.pair import load_pair
from tools.demo import hub_command
from tools.rig.broker import PrivateBroker, private_broker
from tools.rig.process import started

HUB = "bench-hub"
_OBSERVER = "observer"
_START_S = 120.0
_STATS_S = 2.5  # seconds to wait for stats, which are published every second


class HubBed:
    """A broker with its users, a hub that can be restarted, and an observer of what the hub publishes."""

    def __init__(
        self, broker: PrivateBroker, pair: str, hub_options: Sequence[str], folder: Path, python: str = sys.executable
    ) -> None:
        """The hub is to run under `python`."""
        self.broker = broker
        self.pair = pair
        self._log = folder / "hub.log"
        own = [
            "--pair",
            pair,
            "--cache",
            str(folder / "cache"),
        ]  # what an earlier run knew would change the figures of this
        self._command = [python, *hub_command(broker.settings(HUB), HUB, *own, *hub_options)[1:]]
        self._hub = ExitStack()
        self.hub_pid = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._observer = NodeLink(broker.settings(_OBSERVER), _OBSERVER, load_pair(pair))
        self._observer.connect()

    def start_hub(self) -> None:
        """Start the hub and wait until it is online. Raises RuntimeError when it ends or takes too long."""
        hub = self._hub.enter_context(started(self._command, self._log))
        self.hub_pid, self._process = hub.pid, hub
        deadline = time.monotonic() + _START_S
        while not self._observer.directory.seen(HUB).online:
            if hub.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the hub did not start:\n{self._log.read_text()}")
            time.sleep(0.05)

    def restart_hub(self) -> None:
        """End the hub, which forgets its sessions, and start it again."""
        self.end_hub()
        while self._observer.directory.seen(HUB).online:
            time.sleep(0.02)
        self.start_hub()

    def end_hub(self) -> None:
        """End the hub."""
        self._hub.close()

    def close(self) -> None:
        """End the hub and the observer."""
        self._hub.close()
        self._observer.close()

    def node(self, name: str, **changes: Any) -> NodeSettings:
        """Settings of a node that may use the broker."""
        settings = NodeSettings(name=name, pair=self.pair, wait_s=30.0, broker=self.broker.settings(name))
        return replace(settings, **changes)

    @property
    def hub_log(self) -> str:
        """What the hub has written."""
        return self._log.read_text(errors="replace")

    def hub_status(self, wait_s: float) -> int | None:
        """The exit status with which the hub ends within that time; None where it goes on."""
        try:
            return None if self._process is None else self._process.wait(wait_s)
        except subprocess.TimeoutExpired:
            return None

    @property
    def hub_runs(self) -> bool:
        """Whether the hub's process is there."""
        return self._process is not None and self._process.poll() is None

    def latest_stats(self) -> dict[str, Any]:
        """The hub's figures as it published them last, at `at_us` of its clock."""
        return dict(self._observer.directory.seen(HUB).stats)

    def hub_stats(self) -> dict[str, Any]:
        """The hub's figures, including all that happened before the call."""
        time.sleep(_STATS_S)
        return self.latest_stats()

    @property
    def context(self) -> int:
        """Ids that a session on the hub can hold."""
        return int(self._observer.directory.seen(HUB).info["context"])


@contextmanager
def running_hub(
    nodes: Sequence[str],
    pair: str = "home",
    hub_options: Sequence[str] = (),
    other_hubs: Sequence[str] = (),
    crowds: Sequence[str] = (),
    homes: Sequence[str] = (),
    listeners: Sequence[Listener] = (),
    python: str = sys.executable,
    observers: Sequence[str] = (),
) -> Iterator[HubBed]:
    """Start a broker and a hub that serves `pair`; they end with the context. Raises RuntimeError if one fails.

    `other_hubs` are known to the broker too, and not started; `crowds` are users that can be any node, `homes` may ask them,
    `observers` read the state of all. The broker listens at `listeners` too. The hub runs under `python`.
    """
    with tempfile.TemporaryDirectory(prefix="sled-bench-") as name:
        folder = Path(name)
        with private_broker(
            folder,
            hubs=[HUB, *other_hubs],
            nodes=[*nodes, _OBSERVER],
            homes=homes,
            observers=observers,
            crowds=crowds,
            also=listeners,
        ) as broker:
            bed = HubBed(broker, pair, hub_options, folder, python)
            try:
                bed.start_hub()
                yield bed
            finally:
                bed.close()
