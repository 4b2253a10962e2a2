"""What a hub keeps of its speed while another program computes on the machine: the same sessions with and without it, in turn.

The other program is one process that never waits. Devices are emulated, as `capacity` has it; broker, protocol, hub and the target's compute are real.

    throughput_ratio_with_one_busy_process   tokens per second beside it over those alone: the least of those below
    ratios               the same by mode and number of sessions
    alone_tokens_per_s, beside_tokens_per_s   all sessions together, by mode and number of sessions
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tools.bench.capacity import described
from tools.bench.report import progress, show
from tools.bench.site import Load, Rig, Site
from tools.rig.fleet import Drafting

_SESSIONS = (1, 8)
_SETTLE_S = 2.5  # seconds after which the hub has noticed that somebody came or went
_ROUNDS = 10  # of each session at least
_FOREVER = "while True: pass"

ByMode = dict[str, dict[str, float]]


def run(rig: Rig, drafting: Drafting, pairs: int, as_json: bool) -> None:
    """Print the figures."""
    loads: dict[tuple[str, int], list[tuple[Load, Load]]] = {}

    def measure(site: Site) -> None:
        with progress() as bars:
            cells = [
                (sessions, mode) for sessions in _SESSIONS for mode in ("stream", "speculate") for _ in range(pairs)
            ]
            for sessions, mode in bars.track(cells, description="alone and beside a busy process, in turn"):
                site.hold(sessions)
                given = drafting if mode == "speculate" else None
                time.sleep(_SETTLE_S)
                alone = site.measure(given, _ROUNDS)
                with busy_process():
                    time.sleep(_SETTLE_S)
                    beside = site.measure(given, _ROUNDS)
                time.sleep(_SETTLE_S)
                loads.setdefault((mode, sessions), []).append((alone, beside))

    rig.at_site(measure)
    alone: ByMode = {}
    beside: ByMode = {}
    ratios: ByMode = {}
    for (mode, sessions), pair in loads.items():
        for into, values in (
            (alone, [one.tokens_per_s for one, _ in pair]),
            (beside, [other.tokens_per_s for _, other in pair]),
            (ratios, [other.tokens_per_s / one.tokens_per_s for one, other in pair]),
        ):
            into.setdefault(mode, {})[str(sessions)] = round(statistics.median(values), 3)
    figures = {
        **described(rig),
        "acceptance": drafting.acceptance,
        "throughput_ratio_with_one_busy_process": min(ratio for row in ratios.values() for ratio in row.values()),
        "ratios": ratios,
        "alone_tokens_per_s": alone,
        "beside_tokens_per_s": beside,
    }
    show(f"a busy neighbour, {rig.shape}", figures, as_json)


@contextmanager
def busy_process() -> Iterator[None]:
    """One process that computes all the time."""
    with subprocess.Popen([sys.executable, "-c", _FOREVER]) as process:
        try:
            yield
        finally:
            process.kill()
