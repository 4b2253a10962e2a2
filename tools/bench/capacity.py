"""What a hub gains from speculation: the same sessions streaming and speculating, in turn, on a target of real size.

Devices are emulated (`tools.rig.fleet`): broker, protocol, hub and the target's compute are real, and how often a drafted token
is right is set. Early verdicts are off, as these devices make no use of them. Each pair of runs is one after the other on the same
hub, and figures are medians over the pairs.

    stream_tokens_per_s, speculate_tokens_per_s   all sessions together
    throughput_ratio     the latter over the former
    forward_share        time inside the model's forward over the time in which the engine was busy, speculating
    alpha_realised       the target's own / all, of the drafted tokens that can be compared with it: those verified, and the next
    compared_tokens      those drafted tokens, of one run
    drafted_per_round    tokens that a device sent for verification, and
    verified_per_round   those of them that the hub verified
    bare_forward_ms      the model's forward over one token of each session and nothing else, in this process
    stream_over_bare     streaming's ms per token of a session over that
    memory_floor_ms      what that forward must read, weights and K/V once, over the bandwidth at which memory is copied
    bare_over_floor, step_over_floor   that forward, and the hub's time for a step of streaming, over the floor
    stream_forward_s_per_1000, speculate_…   the hub's seconds in forwards for a thousand committed tokens
    energy               how the following are known: measured, stated (--watts, times the seconds in forwards) or unknown
    stream_joules_per_1000, speculate_…   joules of the hub's machine for a thousand committed tokens

With `--slo auto` or a number of tokens per second, how many sessions can be held:

    rate                 tokens per second that 95 % of the sessions must have: given, or 0.8 of one streaming session's
    stream_sessions, speculate_sessions, capacity_ratio
    capacities           the same for rates of 4 to 8
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from functools import cache
from typing import Any

import torch

from hub.model.device import pick_device
from hub.model.target import Target
from shared.energy.meter import Known
from tools.bench.bare import bare_seconds, bytes_read, copied_per_second
from tools.bench.report import progress, show, show_rows
from tools.bench.site import MIDDLE, MOST_SESSIONS, Load, Rig, Site
from tools.rig.fleet import Drafting

_SHARE_OF_SOLO = 0.8
_ROUNDS = 30  # rounds of each session: with few, the slowest is the one that had bad luck
_RATES = (4.0, 5.0, 6.0, 7.0, 8.0)  # tokens per second


def run_throughput(rig: Rig, sessions: int, drafting: Drafting, pairs: int, as_json: bool) -> None:
    """Print the figures of that many sessions."""
    streams: list[Load] = []
    speculations: list[Load] = []
    bares: list[float] = []
    rows = [(MIDDLE, 1)] * sessions
    bare = rig.load(Target)

    def measure(site: Site) -> None:
        with progress() as bars:
            site.hold(sessions)
            for _ in bars.track(range(pairs), description="streaming and speculating, in turn"):
                bares.append(bare_seconds(bare, rows))
                streams.append(site.measure(None))
                speculations.append(site.measure(drafting))

    rig.at_site(measure)
    floor_s = bytes_read(bare, rows) / copied_per_second(bare.device)

    def median(values: Callable[[Load, Load, float], float], digits: int = 3) -> float:
        each = zip(streams, speculations, bares, strict=True)
        return round(statistics.median(values(*row) for row in each), digits)

    figures: dict[str, Any] = {
        **described(rig),
        "sessions": sessions,
        "acceptance": drafting.acceptance,
        "stream_tokens_per_s": median(lambda stream, _, __: stream.tokens_per_s, 2),
        "speculate_tokens_per_s": median(lambda _, speculation, __: speculation.tokens_per_s, 2),
        "throughput_ratio": median(lambda stream, speculation, _: speculation.tokens_per_s / stream.tokens_per_s),
        "forward_share": median(lambda _, speculation, __: speculation.forward_share),
        "alpha_realised": median(lambda _, speculation, __: speculation.alpha),
        "compared_tokens": int(median(lambda _, speculation, __: speculation.compared_tokens)),
        "drafted_per_round": median(lambda _, speculation, __: speculation.drafted_per_round, 2),
        "verified_per_round": median(lambda _, speculation, __: speculation.verified_per_round, 2),
        "bare_forward_ms": median(lambda _, __, bare_s: 1e3 * bare_s, 2),
        "stream_over_bare": median(lambda stream, _, bare_s: sessions / stream.tokens_per_s / bare_s),
        "memory_floor_ms": round(1e3 * floor_s, 2),
        "bare_over_floor": median(lambda _, __, bare_s: bare_s / floor_s),
        "step_over_floor": median(lambda stream, _, __: stream.step_s / floor_s),
        "stream_forward_s_per_1000": median(lambda stream, _, __: stream.forward_s_per_1000),
        "speculate_forward_s_per_1000": median(lambda _, speculation, __: speculation.forward_s_per_1000),
        "energy": streams[-1].energy,
        "stream_joules_per_1000": _joules(streams),
        "speculate_joules_per_1000": _joules(speculations),
    }
    show(f"capacity, {rig.shape}", figures, as_json)


def _joules(loads: list[Load]) -> float | str:
    """Median joules for a thousand tokens; "unknown" where they are not known of each measurement."""
    known = [load.joules_per_1000 for load in loads if load.joules_per_1000 is not None]
    return round(statistics.median(known), 1) if len(known) == len(loads) else Known.UNKNOWN.value


def run_slo(rig: Rig, rate: float | None, drafting: Drafting, as_json: bool) -> None:
    """Print how many sessions can be held at `rate` tokens per second, None for a share of what one that streams gets."""

    def search(site: Site) -> tuple[float, dict[float, tuple[int, int]]]:
        with progress() as bars:
            measured = bars.add_task("measuring", total=None)

            @cache
            def held(sessions: int, speculating: bool) -> float:
                mode = "speculating" if speculating else "streaming"
                bars.update(measured, description=f"{sessions} sessions {mode}")
                site.hold(sessions)
                return site.measure(drafting if speculating else None, _ROUNDS).held

            def most(goal: float, *, speculating: bool) -> int:
                return _largest(lambda sessions: held(sessions, speculating) >= goal)

            wanted = _SHARE_OF_SOLO * held(1, False) if rate is None else rate
            goals = (wanted, *_RATES)
            return wanted, {goal: (most(goal, speculating=False), most(goal, speculating=True)) for goal in goals}

    wanted, counts = rig.at_site(search)
    rows = [
        {"rate": goal, "stream_sessions": stream, "speculate_sessions": speculate}
        for goal, (stream, speculate) in counts.items()
    ]
    stream, speculate = counts[wanted]
    figures = {
        **described(rig),
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
    show(f"capacity, {rig.shape}", figures, as_json, {"capacities": [row for row in rows if row["rate"] in _RATES]})


def described(rig: Rig) -> dict[str, Any]:
    """What was measured, and on what."""
    device = pick_device(rig.device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{torch.get_num_threads()} CPU threads"
    return {
        "shape": rig.shape,
        "dtype": rig.dtype,
        "weights": rig.weights.value,
        "device": name,
        "transport": rig.transport,
    }


def _largest(holds: Callable[[int], bool]) -> int:
    """The largest number of sessions that is held, 0 if not even one is; MOST_SESSIONS if more might be."""
    low, high = 0, 1
    while high <= MOST_SESSIONS and holds(high):
        low, high = high, min(2 * high, MOST_SESSIONS + 1)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low
