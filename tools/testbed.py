"""A broker, a hub and nodes as processes and threads on this machine, for benchmarks and tests."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edge_node.hub_link import HubLink
from edge_node.settings import NodeSettings
from shared.pair import load_pair
from tools.broker import PrivateBroker, private_broker
from tools.demo import hub_command
from tools.process import started

HUB = "bench-hub"
_OBSERVER = "observer"
_START_S = 120.0
_STATS_S = 2.5  # stats are published every second


@dataclass(frozen=True)
class Testbed:
    """What runs."""

    broker: PrivateBroker
    pair: str
    observer: HubLink
    folder: Path

    def node(self, name: str, **changes: Any) -> NodeSettings:
        """Settings of a node that may use the broker."""
        settings = NodeSettings(name=name, pair=self.pair, wait_s=30.0, broker=self.broker.settings(name))
        return replace(settings, **changes)

    def hub_stats(self) -> dict[str, Any]:
        """The hub's figures, including all that happened before the call."""
        time.sleep(_STATS_S)
        return self.observer.seen(HUB).stats

    @property
    def context(self) -> int:
        """Ids that a session on the hub can hold."""
        return int(self.observer.seen(HUB).info["context"])

    def hub_log(self) -> str:
        """What the hub has printed."""
        return (self.folder / "hub.log").read_text()


@contextmanager
def running_hub(nodes: Sequence[str], pair: str = "home", hub_options: Sequence[str] = ()) -> Iterator[Testbed]:
    """Start a broker and a hub that serves `pair`; they end with the context. Raises RuntimeError if the hub fails."""
    with tempfile.TemporaryDirectory(prefix="sled-bench-") as name:
        folder = Path(name)
        with private_broker(folder, hubs=[HUB], nodes=[*nodes, _OBSERVER]) as broker:
            command = hub_command(broker.settings(HUB), HUB, "--pair", pair, *hub_options)
            with started(command, folder / "hub.log") as hub:
                observer = HubLink(broker.settings(_OBSERVER), _OBSERVER, load_pair(pair))
                observer.connect()
                bed = Testbed(broker, pair, observer, folder)
                deadline = time.monotonic() + _START_S
                while not observer.seen(HUB).online:
                    if hub.poll() is not None or time.monotonic() > deadline:
                        raise RuntimeError(f"the hub did not start:\n{bed.hub_log()}")
                    time.sleep(0.05)
                try:
                    yield bed
                finally:
                    observer.close()
