"""A hub with a target of real size and emulated devices, measured while they stream or speculate."""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from hub.model.device import pick_device, pick_dtype
from hub.model.target import Target
from hub.settings import Exits, Weights
from shared.energy.meter import Known
from shared.errors import SettingsError
from shared.pair import Pair
from tools.bench.report import quantile
from tools.rig.fleet import Device, Drafting, Fleet
from tools.rig.memory_transport import MemoryTransport
from tools.rig.shapes import SHAPES, check_shape, shape_pair
from tools.rig.testbed import running_hub
from tools.rig.transport import BrokerTransport, Transport

Result = TypeVar("Result")
AnyTarget = TypeVar("AnyTarget", bound=Target)

TRANSPORTS = ("broker", "memory")
FOLDER = Path("build/shapes")
_CACHE = Path("build/cache")
MOST_SESSIONS = 128
PROMPT = 128  # ids
ANSWER = 96  # ids
MIDDLE = PROMPT + ANSWER // 2  # ids that a session holds on average
_NODE = "fleet"
_KV_MEMORY = 5 << 30  # bytes: MOST_SESSIONS of the largest shape; on a CPU, what is not used is never touched
_WARM_UP_S = 2.0  # most seconds
_LOOK_S = 0.5  # most seconds between two looks at whether all sessions had their rounds
_PATIENCE_S = 300.0
_SLOWEST = 0.05  # share of sessions that may fall below a rate
_SPENT = (
    *("at_us", "waited_us", "model_us", "forward_us", "committed", "rounds"),
    *("drafted", "trimmed", "speculated", "target_forwards", "prefill_forwards"),
)


@dataclass(frozen=True)
class Load:
    """What one measurement saw: tokens per second of each session, drafts' worth, the hub's time."""

    per_session: tuple[float, ...]
    alpha: float  # share of the target's own among the drafted tokens that can be compared with it
    compared_tokens: int  # those tokens
    drafted_per_round: float
    verified_per_round: float
    forward_share: float  # share of the engine's busy time in the model's forward
    step_s: float  # seconds of each forward in which the engine was busy
    rows_per_forward: float
    ids_per_forward: float
    forward_s_per_1000: float  # seconds in forwards for a thousand committed tokens
    joules_per_1000: float | None  # of the hub's machine, emulated devices included; None where it can't tell
    energy: str  # how that is known

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
        """`pair` is one of `tools.rig.shapes`; each measurement takes at least `seconds`, and what comes before it as long, or _WARM_UP_S."""
        self._transport = transport
        self._fleet = Fleet(transport, pair.name, pair.tokenizer_hash())
        self._seconds = seconds
        self._vocab_size = SHAPES[pair.name]["vocab_size"]
        self._rng = random.Random(0)
        self._opened = 0

    def hold(self, sessions: int) -> None:
        """Have that many sessions open, each with a text that was streamed once."""
        missing = self._fleet.muster(sessions)
        if missing:
            self._transport.serve_during(partial(self._welcome, missing))

    def measure(self, drafting: Drafting | None, rounds: int = 12) -> Load:
        """Let all sessions decode in this way, until each has had so many rounds at least."""
        return self._transport.serve_during(partial(self._measure, drafting, rounds))

    def _welcome(self, devices: int) -> None:
        self._fleet.open([self._device() for _ in range(devices)])
        self._fleet.record()

    def _measure(self, drafting: Drafting | None, rounds: int) -> Load:
        self._fleet.start(drafting)
        time.sleep(min(_WARM_UP_S, self._seconds))
        first, began = self._transport.stats(), time.monotonic()
        while (
            time.monotonic() - began < self._seconds
            or self._fleet.fewest_verdicts(began) < rounds
            or self._transport.stats()["at_us"] <= first["at_us"]  # they are told once a second
        ):
            time.sleep(min(_LOOK_S, self._seconds))
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
            compared_tokens=hits + misses,
            drafted_per_round=(spent["drafted"] + spent["trimmed"]) / max(1, spent["speculated"]),
            verified_per_round=spent["drafted"] / max(1, spent["speculated"]),
            forward_share=spent["model_us"] / max(1, busy_us),
            step_s=busy_us / 1e6 / max(1, spent["target_forwards"] + spent["prefill_forwards"]),
            rows_per_forward=spent["rounds"] / max(1, spent["target_forwards"]),
            ids_per_forward=(spent["rounds"] + spent["drafted"]) / max(1, spent["target_forwards"]),
            forward_s_per_1000=spent["forward_us"] / 1e3 / max(1, spent["committed"]),
            joules_per_1000=_joules_per_1000(first, last, spent["committed"]),
            energy=str(last.get("energy", Known.UNKNOWN.value)),
        )

    def _device(self) -> Device:
        self._opened += 1
        return Device(self._opened, [self._rng.randrange(1, self._vocab_size) for _ in range(PROMPT)], ANSWER)


def _joules_per_1000(first: Mapping[str, Any], last: Mapping[str, Any], committed: int) -> float | None:
    before, after = first.get("energy_j"), last.get("energy_j")
    return None if before is None or after is None else 1e3 * (after - before) / max(1, committed)


@dataclass(frozen=True)
class Rig:
    """A target of real size and how devices reach it: what is measured."""

    shape: str = "1.1b"
    dtype: str = "bfloat16"
    weights: Weights = Weights.AUTO
    device: str = "auto"
    transport: str = "broker"
    seconds: float = 6.0
    exits: Exits = Exits.OFF  # whether the hub sends early verdicts
    watts: float = 0.0  # of the hub's machine, where nothing measures them
    threads: int = 0  # of the target's, 0 for as many as are fastest

    def __post_init__(self) -> None:
        check_shape(self.shape)
        pick_dtype(self.dtype)
        pick_device(self.device)
        if self.transport not in TRANSPORTS:
            raise SettingsError(f"there is no transport {self.transport!r}; use one of {', '.join(TRANSPORTS)}")

    @property
    def pair(self) -> Pair:
        """The pair, made where it is missing."""
        return shape_pair(self.shape, self.dtype, FOLDER)

    def load(self, kind: type[AnyTarget]) -> AnyTarget:
        """The target, in this process, as an object of that kind."""
        return kind(
            self.pair.target,
            device=pick_device(self.device),
            dtype=pick_dtype(self.dtype),
            weights=self.weights,
            threads=self.threads or None,
            kv_memory=_KV_MEMORY,
            exit_head=None if self.exits is Exits.OFF else self.pair.exit_head,
            rounded=_CACHE / "weights",
        )

    def at_site(
        self, work: Callable[[Site], Result], over: Callable[[Transport], Transport] = lambda transport: transport
    ) -> Result:
        """What `work` returns for a site: behind a broker of its own, or in this process; `over` may wrap the way there."""
        if self.transport == "memory":
            transport = over(MemoryTransport(self.load(Target)))
            try:
                return work(Site(transport, self.pair, self.seconds))
            finally:
                transport.close()
        options = ["--max-sessions-per-node", str(MOST_SESSIONS), "--kv-memory", str(_KV_MEMORY)]
        shutil.rmtree(_CACHE / "pages", ignore_errors=True)  # what an earlier run knew would change the figures of this
        options += ["--cache", str(_CACHE.absolute())]
        options += ["--device", self.device, "--weights", self.weights.value, "--exits", self.exits.value]
        options += ["--watts", str(self.watts), "--threads", str(self.threads)]
        with running_hub([_NODE], str(self.pair.folder), options) as bed:
            over_broker = over(BrokerTransport(bed.broker.settings(_NODE), _NODE, bed.latest_stats))
            try:
                return work(Site(over_broker, self.pair, self.seconds))
            finally:
                over_broker.close()
