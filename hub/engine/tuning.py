"""What is measured before a hub serves: how long its target's forwards take, and with how many threads they are fastest."""

from __future__ import annotations

import math
import statistics
import time

import torch

from hub.engine.forward_time import ForwardTime
from hub.kv.pages import pages_for
from hub.model.probe_rows import probe_rows
from hub.model.target import Target

_SHAPES = ((1, 1), (1, 8), (8, 1), (8, 4), (24, 1))  # rows, and ids of each, that are measured
_THREADED = ((1, 8), (4, 4))  # rows, and ids of each, by which the number of threads is chosen
_WORTH = (
    0.9  # twice the threads must take at most this share of the time; the rest of the machine has use for cores too
)
_TIMES = 3  # measurements of each shape, after a first one that does not count


def measured_forward_time(target: Target) -> ForwardTime:
    """The time of forwards, from about twenty of them: the first sessions are then planned for by measurements."""
    learnt = ForwardTime()
    for rows, fed in _SHAPES:
        if rows * pages_for(fed) > target.pool.available:
            continue
        with probe_rows(target.pool, [(0, fed)] * rows) as batch:
            target.forward(batch)
            for _ in range(_TIMES):
                started = time.monotonic()
                target.forward(batch)
                learnt.learn(rows, rows * fed, time.monotonic() - started)
    return learnt


def fastest_threads(target: Target) -> int:
    """The number of torch's CPU threads with which forwards are fast; torch uses it from here on.

    What threads cost each other is more than they bring where the target is small. Of two numbers that are about as
    fast it is the smaller, which leaves cores to the broker and to whatever else runs on the machine.
    """
    counts = [torch.get_num_threads()]
    if target.pool.available < max(rows * pages_for(fed) for rows, fed in _THREADED):
        return counts[0]
    while counts[-1] > 1:
        counts.append(counts[-1] // 2)
    times = {count: math.prod(_forward_seconds(target, count, *shape) for shape in _THREADED) for count in counts}
    best = counts.pop()
    while counts and times[counts[-1]] < _WORTH ** len(_THREADED) * times[best]:
        best = counts.pop()
    torch.set_num_threads(best)
    return best


def _forward_seconds(target: Target, threads: int, rows: int, fed: int) -> float:
    torch.set_num_threads(threads)
    measured = []
    with probe_rows(target.pool, [(0, fed)] * rows) as batch:
        for _ in range(_TIMES + 1):
            started = time.monotonic()
            target.forward(batch)
            measured.append(time.monotonic() - started)
    return statistics.median(measured[1:])
