"""The model's forward over a ragged batch and nothing else, and the time that its memory alone would take."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence

import torch

from hub.kv.pages import PAGE_SIZE
from hub.model.probe_rows import probe_rows
from hub.model.target import Target

_WARM_UP = 2  # forwards, or copies
_COPIES = 9
_COPIED = {"cpu": 256 << 20, "cuda": 4 << 30}  # bytes that are copied to measure: far more than any cache holds


def bare_seconds(target: Target, rows: Sequence[tuple[int, int]], times: int = 7) -> float:
    """Median time of the forward over rows of (ids held, ids fed), planned beforehand."""
    with probe_rows(target.pool, rows) as batch:
        inputs = target.prepare(batch)
        measured = []
        for _ in range(times + _WARM_UP):
            started = time.perf_counter()
            target.compute(inputs)
            measured.append(time.perf_counter() - started)
    return statistics.median(measured[_WARM_UP:])


def copied_per_second(device: torch.device) -> float:
    """Bytes read and written per second, when much is copied on the device."""
    source = torch.ones(_COPIED[device.type] // 4, dtype=torch.float32, device=device)
    destination = torch.empty_like(source)
    measured = []
    for _ in range(_COPIES + _WARM_UP):
        started = time.perf_counter()
        destination.copy_(source)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        measured.append(time.perf_counter() - started)
    return 2 * source.nbytes / statistics.median(measured[_WARM_UP:])


def bytes_read(target: Target, rows: Sequence[tuple[int, int]]) -> int:
    """What a forward over rows of (ids held, ids fed) must read: every linear weight once, and every row's K/V once."""
    positions = sum(held + fed for held, fed in rows)
    slots = len(target.cache.keys[0]) * PAGE_SIZE
    return target.weight_bytes + positions * sum(t.nbytes for t in (*target.cache.keys, *target.cache.values)) // slots
