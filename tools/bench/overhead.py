"""What the engine adds to the model's forward: a step of its loop over the bare forward of the same ragged batches.

An engine in this process, with queues where a broker would be; every device's draft of three right tokens is there before
the next forward. The devices' own work, in the same process, is in the engine's time as far as Python lets only one of them
run. In turn with each run of it, the forwards that it made are made again, and nothing else.

    ratio_N     time that the engine was busy over the time of those forwards, for N sessions
    step_ms_N   of it for each step
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from typing import Any

from hub.model.batch import Inputs, Row
from hub.model.probe_rows import probe_rows
from hub.model.target import Target
from tools.bench.capacity import described
from tools.bench.report import progress, show
from tools.bench.site import Rig, Site
from tools.rig.fleet import Drafting
from tools.rig.memory_transport import MemoryTransport

_SESSIONS = (1, 8, 32)
_DRAFTING = Drafting(acceptance=1.0, length=3)


class _Recording(Target):
    """A target that remembers the shapes of its batches."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self.shapes: list[list[tuple[int, int]]] = []
        super().__init__(*arguments, **options)

    def prepare(self, rows: Sequence[Row]) -> Inputs:
        self.shapes.append([(row.start, len(row.ids)) for row in rows])
        return super().prepare(rows)


def run(rig: Rig, pairs: int, as_json: bool) -> None:
    """Print the figures above."""
    target = rig.load(_Recording)
    transport = MemoryTransport(target)
    site = Site(transport, rig.pair, rig.seconds)
    figures: dict[str, Any] = described(rig)
    try:
        with progress() as bars:
            for sessions in _SESSIONS:
                site.hold(sessions)
                ratios, steps = [], []
                for _ in bars.track(range(pairs), description=f"{sessions} sessions and bare forwards, in turn"):
                    target.shapes.clear()
                    load = site.measure(_DRAFTING)
                    steps.append(load.step_s)
                    # The first and the last batches are of the start and the end, when not all sessions are there.
                    fifth = len(target.shapes) // 5
                    ratios.append(load.step_s / _bare_step(target, target.shapes[fifth:-fifth]))
                figures[f"ratio_{sessions}"] = round(statistics.median(ratios), 3)
                figures[f"step_ms_{sessions}"] = round(1e3 * statistics.median(steps), 1)
    finally:
        transport.close()
    show("overhead", figures, as_json)


def _bare_step(target: Target, shapes: Sequence[Sequence[tuple[int, int]]]) -> float:
    """Mean time in seconds of forwards of those shapes."""
    spent = 0.0
    for shape in shapes:
        with probe_rows(target.pool, shape) as rows:
            inputs = target.prepare(rows)
            started = time.perf_counter()
            target.compute(inputs)
            spent += time.perf_counter() - started
    return spent / len(shapes)
