"""What a hub gains from speculation: the same sessions streaming and speculating, in turn, on a target of real size.

Devices are emulated (`tools.fleet`): broker, protocol, hub and the target's compute are real, and how often a drafted token
is right is set. Each pair of runs is one after the other on the same hub, and figures are medians over the pairs.

    stream_tokens_per_s, speculate_tokens_per_s   all sessions together
    throughput_ratio     the latter over the former
    forward_share        time inside the model's forward over the time in which the engine was busy, speculating
    alpha_realised       the target's own / all, of the drafted tokens that can be compared with it: those verified, and the next
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

import statistics
from collections.abc import Callable
from functools import cache
from typing import Any

from tools.bench.bare import BareForward
from tools.bench.report import progress, show, show_rows
from tools.bench.site import FOLDER, MIDDLE, MOST_SESSIONS, Load, broker_site
from tools.fleet import Drafting
from tools.shapes import shape_pair

_SHARE_OF_SOLO = 0.8
_RATES = (4.0, 5.0, 6.0, 7.0, 8.0)  # tokens per second


def run_throughput(
    shape: str, sessions: int, drafting: Drafting, pairs: int, seconds: float, device: str, as_json: bool
) -> None:
    """Print the figures of that many sessions."""
    pair = shape_pair(shape, "bfloat16", FOLDER)
    streams: list[Load] = []
    speculations: list[Load] = []
    bares: list[float] = []
    bare = BareForward(pair, device)
    with broker_site(pair, seconds, device) as place, progress() as bars:
        place.hold(sessions)
        for _ in bars.track(range(pairs), description="streaming and speculating, in turn"):
            bares.append(bare.seconds([(MIDDLE, 1)] * sessions))
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
    pair = shape_pair(shape, "bfloat16", FOLDER)
    with broker_site(pair, seconds, device) as place, progress() as bars:
        measured = bars.add_task("measuring", total=None)

        @cache
        def held(sessions: int, speculating: bool) -> float:
            bars.update(measured, description=f"{sessions} sessions {'speculating' if speculating else 'streaming'}")
            place.hold(sessions)
            return place.measure(drafting if speculating else None).held

        def most(goal: float, *, speculating: bool) -> int:
            return _largest(lambda sessions: held(sessions, speculating) >= goal)

        wanted = rate or _SHARE_OF_SOLO * held(1, False)
        counts = {goal: (most(goal, speculating=False), most(goal, speculating=True)) for goal in (wanted, *_RATES)}
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
    """The largest number of sessions that is held, 0 if not even one is; MOST_SESSIONS if more might be."""
    low, high = 0, 1
    while high <= MOST_SESSIONS and holds(high):
        low, high = high, min(2 * high, MOST_SESSIONS + 1)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low
