"""What a hub gains from speculation: the same sessions streaming and speculating, in turn, on a target of real size.

Devices are emulated (`tools.fleet`): broker, protocol, hub and the target's compute are real, and how often a drafted token
is right is set. Each pair of runs is one after the other on the same hub, and figures are medians over the pairs.

    stream_tokens_per_s, speculate_tokens_per_s   all sessions together
    throughput_ratio     the latter over the former
    forward_share        time inside the model's forward over the time in which the engine was busy, speculating
    alpha_realised       accepted / (accepted + rejected) of the drafted tokens that the target looked at
    drafted_per_round    tokens that a device sent for verification, and
    verified_per_round   those of them that the hub verified
    bare_forward_ms      the model's forward over one token of each session and nothing else, in this process
    stream_over_bare     streaming's ms per token of a session over that

With `--slo auto` or a number of tokens per second, how many sessions can be held:

    rate                 tokens per second that 95 % of the sessions must have: given, or 0.8 of one streaming session's
    stream_sessions, speculate_sessions, capacity_ratio
    capacities           the same for rates of 4 to 8
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from shared.pair import Pair
from tools.bench.bare import BareForward
from tools.bench.report import progress, quantile, show, show_rows
from tools.fleet import Device, Drafting, Fleet
from tools.shapes import SHAPES, shape_pair
from tools.testbed import HUB, HubBed, running_hub

PROMPT = 128  # ids
ANSWER = 96  # ids
_NODE = "fleet"
_FOLDER = Path("build/shapes")
_WARM_UP_S = 2.0
_LEAST_VERDICTS = 6  # of each session, in a measurement
_SLOWEST = 0.05  # share of sessions that may fall below a rate
_MOST_SESSIONS = 128
_SHARE_OF_SOLO = 0.8
_RATES = (4.0, 5.0, 6.0, 7.0, 8.0)  # tokens per second


@dataclass(frozen=True)
class Load:
    """What one measurement saw: tokens per second of each session, drafts' worth, shares of the hub's time."""

    per_session: tuple[float, ...]
    alpha: float
    drafted_per_round: float
    verified_per_round: float
    forward_share: float

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

    def __init__(self, bed: HubBed, fleet: Fleet, seconds: float, vocab_size: int) -> None:
        self._bed = bed
        self._fleet = fleet
        self._seconds = seconds
        self._vocab_size = vocab_size
        self._rng = random.Random(0)
        self._opened = 0

    def hold(self, sessions: int) -> None:
        """Have that many sessions open, each with a text that was streamed once."""
        missing = sessions - len(self._fleet.devices)
        self._fleet.dismiss(max(0, -missing))
        fresh = [self._device() for _ in range(missing)]
        self._fleet.open(fresh)
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
        self._fleet.pause()
        tallies = [device.tally for device in self._fleet.devices]
        accepted, rejected, drafted, rounds = (
            sum(values)
            for values in zip(*((t.accepted, t.rejected, t.drafted, t.rounds) for t in tallies), strict=True)
        )
        spent = {key: last[key] - first[key] for key in ("at_us", "waited_us", "model_us", "drafted", "rounds")}
        return Load(
            tuple(
                sum(tokens for at, tokens in tally.arrivals if began <= at < ended) / (ended - began)
                for tally in tallies
            ),
            alpha=accepted / max(1, accepted + rejected),
            drafted_per_round=drafted / max(1, rounds),
            verified_per_round=spent["drafted"] / max(1, spent["rounds"]),
            forward_share=spent["model_us"] / max(1, spent["at_us"] - spent["waited_us"]),
        )

    def _device(self) -> Device:
        self._opened += 1
        return Device(self._opened, [self._rng.randrange(1, self._vocab_size) for _ in range(PROMPT)], ANSWER)


@contextmanager
def site(pair: Pair, seconds: float, device: str) -> Iterator[Site]:
    """A broker, a hub that serves `pair`, and a connected fleet without sessions."""
    options = ["--max-sessions-per-node", str(_MOST_SESSIONS), "--kv-memory", "2G", "--device", device]
    with running_hub([_NODE], str(pair.folder), options) as bed:
        fleet = Fleet(bed.broker.settings(_NODE), _NODE, HUB, pair.name, pair.tokenizer_hash())
        fleet.connect()
        try:
            yield Site(bed, fleet, seconds, SHAPES[pair.name]["vocab_size"])
        finally:
            fleet.close()


def run_throughput(
    shape: str, sessions: int, drafting: Drafting, pairs: int, seconds: float, device: str, as_json: bool
) -> None:
    """Print the figures of that many sessions."""
    pair = shape_pair(shape, "bfloat16", _FOLDER)
    streams: list[Load] = []
    speculations: list[Load] = []
    bares: list[float] = []
    bare = BareForward(pair, [(PROMPT + ANSWER // 2, 1)] * sessions, device)
    with site(pair, seconds, device) as place, progress() as bars:
        place.hold(sessions)
        for _ in bars.track(range(pairs), description="streaming and speculating, in turn"):
            bares.append(bare.seconds())
            streams.append(place.measure(None))
            speculations.append(place.measure(drafting))

    def median(values: Callable[[Load, Load, float], float], digits: int = 3) -> float:
        each = zip(streams, speculations, bares, strict=True)
        return round(statistics.median(values(*row) for row in each), digits)

    figures: dict[str, Any] = {
        "shape": shape,
        "sessions": sessions,
        "acceptance": drafting.acceptance,
        "stream_tokens_per_s": median(lambda stream, _, __: stream.tokens_per_s, 2),
        "speculate_tokens_per_s": median(lambda _, speculation, __: speculation.tokens_per_s, 2),
        "throughput_ratio": median(lambda stream, speculation, _: speculation.tokens_per_s / stream.tokens_per_s),
        "forward_share": median(lambda _, speculation, __: speculation.forward_share),
        "alpha_realised": median(lambda _, speculation, __: speculation.alpha),
        "drafted_per_round": median(lambda _, speculation, __: speculation.drafted_per_round, 2),
        "verified_per_round": median(lambda _, speculation, __: speculation.verified_per_round, 2),
        "bare_forward_ms": median(lambda _, __, bare_s: 1e3 * bare_s, 1),
        "stream_over_bare": median(lambda stream, _, bare_s: sessions / stream.tokens_per_s / bare_s),
    }
    show(f"capacity, {shape}", figures, as_json)


def run_slo(shape: str, rate: float | None, drafting: Drafting, seconds: float, device: str, as_json: bool) -> None:
    """Print how many sessions can be held at `rate` tokens per second, None for a share of what one that streams gets."""
    pair = shape_pair(shape, "bfloat16", _FOLDER)
    with site(pair, seconds, device) as place, progress() as bars:
        measured = bars.add_task("measuring", total=None)

        @cache
        def held(sessions: int, speculating: bool) -> float:
            bars.update(measured, description=f"{sessions} sessions {'speculating' if speculating else 'streaming'}")
            place.hold(sessions)
            return place.measure(drafting if speculating else None).held

        wanted = rate or _SHARE_OF_SOLO * held(1, speculating=False)
        counts = {
            goal: tuple(_largest(lambda n, mode=mode, goal=goal: held(n, mode) >= goal) for mode in (False, True))  # type: ignore[misc]
            for goal in (wanted, *_RATES)
        }
    rows = [
        {"rate": goal, "stream_sessions": stream, "speculate_sessions": speculate}
        for goal, (stream, speculate) in counts.items()
    ]
    stream, speculate = counts[wanted]
    figures = {
        "shape": shape,
        "acceptance": drafting.acceptance,
        "rate": round(wanted, 2),
        "stream_sessions": stream,
        "speculate_sessions": speculate,
        "capacity_ratio": round(speculate / max(1, stream), 2),
    }
    show_rows(
        "sessions held",
        ("tokens/s each", "streaming", "speculating"),
        [(f"{row['rate']:.2f}", row["stream_sessions"], row["speculate_sessions"]) for row in rows],
    )
    show(f"capacity, {shape}", figures, as_json, {"capacities": rows[1:]})


def _largest(holds: Callable[[int], bool]) -> int:
    """The largest number of sessions that is held, 0 if not even one is."""
    low, high = 0, 1
    while high <= _MOST_SESSIONS and holds(high):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low
