"""How much memory there is for a model, as far as the system tells, and how fast it is read."""

from __future__ import annotations

import time
from functools import cache
from pathlib import Path

import numpy as np

_MEMINFO = Path("/proc/meminfo")
_CGROUP = Path("/sys/fs/cgroup")  # of a container or a service, where there is one
_CACHED = "inactive_file"  # what a cgroup holds and gives up when memory is wanted
_BLOCK = 32 * 2**20  # bytes that are copied to measure the memory's bandwidth
_TIMES = 3


def available_memory() -> int | None:
    """Bytes that a program could still take without others having to leave memory; None where the system does not tell."""
    rooms = [room for room in (_machine(), _limit()) if room is not None]
    return min(rooms, default=None)


@cache
def memory_bandwidth() -> float:
    """Bytes a second that one thread reads and writes while it copies, the best of some tries: some 50 ms on a small device."""
    source, target = np.zeros(_BLOCK, np.uint8), np.empty(_BLOCK, np.uint8)
    source[:] = 1  # or the system would have one page of zeros for all of it
    seconds = []
    for _ in range(_TIMES):
        began = time.perf_counter()
        np.copyto(target, source)
        seconds.append(time.perf_counter() - began)
    return 2 * _BLOCK / min(seconds)


def _machine() -> int | None:
    return _numbers(_MEMINFO).get("MemAvailable:", 0) * 1024 or None


def _limit() -> int | None:
    try:
        limit = int((_CGROUP / "memory.max").read_text())
        taken = int((_CGROUP / "memory.current").read_text())
    except (OSError, ValueError):  # there is no such file, or no limit
        return None
    return max(0, limit - taken + _numbers(_CGROUP / "memory.stat").get(_CACHED, 0))


def _numbers(path: Path) -> dict[str, int]:
    """The numbers in a file of lines of a name and a number each."""
    try:
        lines = [line.split() for line in path.read_text().splitlines()]
    except OSError:
        return {}
    return {line[0]: int(line[1]) for line in lines if len(line) > 1 and line[1].isdigit()}
