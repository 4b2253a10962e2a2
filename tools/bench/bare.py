"""The model's forward over a ragged batch and nothing else: what the engine's figures are compared with."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence

from hub.batch import Row
from hub.session import HubSession, Limits, SessionKey
from hub.target import Target, pick_device, pick_dtype
from shared.pair import Pair

_KV_MEMORY = 2 << 30  # bytes; what is not used is never touched


class BareForward:
    """A target of its own with rows of (ids held, ids fed) each, all of whose logits are wanted."""

    def __init__(self, pair: Pair, rows: Sequence[tuple[int, int]], device: str = "auto") -> None:
        limits = Limits(2**20, 2**31, frozenset(), 1)
        self._target = Target(
            pair.target, device=pick_device(device), dtype=pick_dtype(pair.target_dtype), kv_memory=_KV_MEMORY
        )
        self._rows = []
        for number, (held, fed) in enumerate(rows):
            session = HubSession(SessionKey("bare", number.to_bytes(16, "big")), limits)
            self._target.pool.grow(session.pages, held + fed)
            self._rows.append(Row(session, held, tuple(range(1, fed + 1)), wanted=fed, prefill=False))

    def seconds(self, times: int = 6) -> float:
        """Median time of the forward, planned beforehand."""
        batch = self._target.prepare(self._rows)
        measured = []
        for _ in range(times + 2):
            started = time.perf_counter()
            self._target.compute(batch)
            measured.append(time.perf_counter() - started)
        return statistics.median(measured[2:])
