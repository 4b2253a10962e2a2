"""What a hub gains from speculation: the same sessions streaming and speculating, in turn, on a target of real size.

Devices are emulated (`tools.fleet`): broker, protocol, hub and the target's compute are real, and how often a drafted token
is right is set. Each pair of runs is one after the other on the same hub, and figures are medians over the pairs.

    stream_tokens_per_s, speculate_tokens_per_s   all sessions together
    throughput_ratio     the latter over the former
    forward_share        time inside the model's forward over the time in which the engine was busy, speculating
    alpha_realised       accepted / (accepted + rejected) of the drafted tokens that the target looked at
    stream_over_bare     streaming's time per step over that of the bare ragged forward of as many single tokens
    capacity_ratio       with --slo auto: sessions held at 0.8 of one streaming session's rate, speculating over streaming
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from hub.batch import Row
from hub.session import HubSession, Limits, SessionKey
from hub.target import Target, pick_device, pick_dtype
from shared.pair import Pair
from tools.bench.report import quantile, show, show_rows
from tools.fleet import Device, Drafting, Fleet
from tools.shapes import shape_pair
from tools.testbed import HUB, HubBed, running_hub

PROMPT = 128  # ids
_ANSWER = 96  # ids
_NODE = "fleet"
_SHAPES = Path("build/shapes")
_WARM_UP_S = 2.0
_LEAST_VERDICTS = 6  # of each session, in a measurement
_SLOWEST = 0.05  # share of sessions that may fall below a rate


@dataclass(frozen=True)
class Load:
    """What one measurement saw: tokens per second of all sessions and of each, drafts' worth, shares of the hub's time."""

    tokens_per_s: float
    per_session: tuple[float, ...]
    alpha: float
    forward_share: float

    @property
    def held(self) -> float:
        """The rate in tokens per second that all but the slowest sessions have."""
        return quantile(self.per_session, _SLOWEST)


class Site:
    """A hub with a target of real size, and emulated devices; `more` opens further sessions."""

    def __init__(self, bed: HubBed, fleet: Fleet, seconds: float, vocab_size: int) -> None:
        self._bed = bed
        self._fleet = fleet
        self._seconds = seconds
        self._vocab_size = vocab_size
        self._rng = random.Random(0)

    def hold(self, sessions: int) -> None:
        """Have that many sessions open, each with a text that was streamed once."""
        missing = sessions - len(self._fleet.devices)
        devices = [
            Device(number, [self._rng.randrange(1, self._vocab_size) for _ in range(PROMPT)], _ANSWER)
            for number in range(len(self._fleet.devices), sessions)
        ]
        if missing < 0:
            self._fleet.dismiss(-missing)
        self._fleet.open(devices)
        self._fleet.start(None)
        while not all(device.recorded for device in self._fleet.devices):
            time.sleep(0.05)
        self._fleet.pause()

    def measure(self, drafting: Drafting | None) -> Load:
        """Let all sessions decode in this way, long enough for a fair figure of each."""
        self._fleet.start(drafting)
        time.sleep(_WARM_UP_S)
        first, began = self._bed.latest_stats(), time.monotonic()
        while time.monotonic() - began < self._seconds or self._fleet.fewest_verdicts(began) < _LEAST_VERDICTS:
            time.sleep(0.1)
        last, ended = self._bed.latest_stats(), time.monotonic()
        tallies = [device.tally for device in self._fleet.devices]
        self._fleet.pause()
        per_session = tuple(
            sum(tokens for at, tokens in tally.arrivals if began <= at < ended) / (ended - began) for tally in tallies
        )
        accepted = sum(tally.accepted for tally in tallies)
        rejected = sum(tally.rejected for tally in tallies)
        busy = last["at_us"] - first["at_us"] - (last["waited_us"] - first["waited_us"])
        return Load(
            sum(per_session),
            per_session,
            accepted / max(1, accepted + rejected),
            (last["model_us"] - first["model_us"]) / max(1, busy),
        )


@contextmanager
def site(pair: Pair, seconds: float, hub_options: Sequence[str]) -> Iterator[Site]:
    """A broker, a hub that serves `pair`, and a connected fleet without sessions."""
    options = ["--max-sessions-per-node", "4096", *hub_options]
    with running_hub([_NODE], str(pair.folder), options) as bed:
        fleet = Fleet(bed.broker.settings(_NODE), _NODE, HUB, pair.name, pair.tokenizer_hash)
        fleet.connect()
        try:
            yield Site(bed, fleet, seconds, Target.vocabulary_of(pair))
        finally:
            fleet.close()


class BareForward:
    """The target's forward over single tokens of many sessions, and nothing else."""

    def __init__(self, pair: Pair, device: str, sessions: int) -> None:
        limits = Limits(2 * PROMPT, 2**31, frozenset(), 1)
        self._target = Target(
            pair.target, device=pick_device(device), dtype=pick_dtype(pair.target_dtype), kv_memory=1 << 30
        )
        self._rows = []
        for number in range(sessions):
            session = HubSession(SessionKey("bare", number.to_bytes(16, "big")), limits)
            self._target.pool.grow(session.pages, PROMPT + _ANSWER)
            self._rows.append(Row(session, PROMPT + _ANSWER // 2, (number + 1,), wanted=1, prefill=False))

    def seconds(self, times: int = 8) -> float:
        """Median time of a forward."""
        measured = []
        for _ in range(times + 2):
            started = time.perf_counter()
            self._target.forward(self._rows)
            measured.append(time.perf_counter() - started)
        return statistics.median(measured[2:])
