"""The model's forward over a ragged batch and nothing else: what the engine's figures are compared with."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence

from hub.probe import probe_rows
from hub.target import Target, pick_device, pick_dtype
from shared.pair import Pair

_KV_MEMORY = 2 << 30  # bytes; what is not used is never touched
_WARM_UP = 2  # forwards


class BareForward:
    """A target of its own in this process."""

    def __init__(self, pair: Pair, device: str = "auto") -> None:
        self.target = Target(
            pair.target, device=pick_device(device), dtype=pick_dtype(pair.target_dtype), kv_memory=_KV_MEMORY
        )

    def seconds(self, rows: Sequence[tuple[int, int]], times: int = 7) -> float:
        """Median time of the forward over rows of (ids held, ids fed), planned beforehand."""
        with probe_rows(self.target.pool, rows) as batch:
            inputs = self.target.prepare(batch)
            measured = []
            for _ in range(times + _WARM_UP):
                started = time.perf_counter()
                self.target.compute(inputs)
                measured.append(time.perf_counter() - started)
        return statistics.median(measured[_WARM_UP:])
