"""A hub with a target of real size and emulated devices, measured while they stream or speculate."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from shared.pair import Pair
from tools.bench.report import quantile
from tools.fleet import Device, Drafting, Fleet
from tools.shapes import SHAPES
from tools.testbed import running_hub
from tools.transport import BrokerTransport, Transport

FOLDER = Path("build/shapes")
MOST_SESSIONS = 128
PROMPT = 128  # ids
ANSWER = 96  # ids
MIDDLE = PROMPT + ANSWER // 2  # ids that a session holds on average
_NODE = "fleet"
_WARM_UP_S = 2.0
_LOOK_S = 0.5  # between two looks at whether that was long enough
_PATIENCE_S = 300.0
_LEAST_VERDICTS = 6  # of each session, in a measurement
_SLOWEST = 0.05  # share of sessions that may fall below a rate
_SPENT = ("at_us", "waited_us", "model_us", "drafted", "trimmed", "speculated", "target_forwards", "prefill_forwards")


@dataclass(frozen=True)
class Load:
    """What one measurement saw: tokens per second of each session, drafts' worth, the hub's time."""

    per_session: tuple[float, ...]
    alpha: float
    drafted_per_round: float
    verified_per_round: float
    forward_share: float  # of the time in which the engine was busy
    step_s: float  # that time for each forward

    @property
    def tokens_per_s(self) -> float:
        """Of all sessions together."""
        return sum(self.per_session)

    @property
    def held(self) -> float:
        """The rate in tokens per second that all but the slowest sessions have."""
        return quantile(self.per_session, _SLOWEST)


class Site:
    """A hub with a target of real size, and emulated devices."""

    def __init__(self, transport: Transport, pair: Pair, seconds: float) -> None:
        """`pair` is one of `tools.shapes`; each measurement takes at least `seconds`."""
        self._transport = transport
        self._fleet = Fleet(transport, pair.name, pair.tokenizer_hash())
        self._seconds = seconds
        self._vocab_size = SHAPES[pair.name]["vocab_size"]
        self._rng = random.Random(0)
        self._opened = 0

    def hold(self, sessions: int) -> None:
        """Have that many sessions open, each with a text that was streamed once."""
        missing = sessions - len(self._fleet.devices)
        self._fleet.dismiss(max(0, -missing))
        fresh = [self._device() for _ in range(missing)]
        self._fleet.open(fresh)
        self._fleet.record()

    def measure(self, drafting: Drafting | None) -> Load:
        """Let all sessions decode in this way, long enough for a fair figure of each."""
        self._fleet.start(drafting)
        time.sleep(_WARM_UP_S)
        first, began = self._transport.stats(), time.monotonic()
        while time.monotonic() - began < self._seconds or self._fleet.fewest_verdicts(began) < _LEAST_VERDICTS:
            time.sleep(_LOOK_S)
            if self._fleet.faults or time.monotonic() - began > _PATIENCE_S:
                raise RuntimeError(f"the hub does not answer all sessions; faults: {self._fleet.faults[:3]}")
        last, ended = self._transport.stats(), time.monotonic()
        self._fleet.pause()
        tallies = [device.tally for device in self._fleet.devices]
        hits = sum(tally.accepted + tally.matched for tally in tallies)
        misses = sum(tally.rejected for tally in tallies)
        spent = {key: last[key] - first[key] for key in _SPENT}
        busy_us = spent["at_us"] - spent["waited_us"]
        return Load(
            tuple(
                sum(tokens for at, tokens in tally.arrivals if began <= at < ended) / (ended - began)
                for tally in tallies
            ),
            alpha=hits / max(1, hits + misses),
            drafted_per_round=(spent["drafted"] + spent["trimmed"]) / max(1, spent["speculated"]),
            verified_per_round=spent["drafted"] / max(1, spent["speculated"]),
            forward_share=spent["model_us"] / max(1, busy_us),
            step_s=busy_us / 1e6 / max(1, spent["target_forwards"] + spent["prefill_forwards"]),
        )

    def _device(self) -> Device:
        self._opened += 1
        return Device(self._opened, [self._rng.randrange(1, self._vocab_size) for _ in range(PROMPT)], ANSWER)


@contextmanager
def broker_site(pair: Pair, seconds: float, device: str) -> Iterator[Site]:
    """A broker, a hub that serves `pair`, and devices that are yet to open their sessions."""
    options = ["--max-sessions-per-node", str(MOST_SESSIONS), "--kv-memory", "2G", "--device", device]
    with running_hub([_NODE], str(pair.folder), options) as bed:
        transport = BrokerTransport(bed.broker.settings(_NODE), _NODE, bed.latest_stats)
        try:
            yield Site(transport, pair, seconds)
        finally:
            transport.close()
