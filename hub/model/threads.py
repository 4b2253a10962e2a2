"""With how many CPU threads a target is fastest, measured."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Sequence
from typing import Protocol

import torch

from hub.kv.pages import PagePool, pages_for
from hub.model.batch import Row
from hub.model.probe_rows import probe_rows

_SHAPES = ((1, 8), (4, 4))  # rows, and ids of each
_WORTH = (
    0.9  # twice the threads must take at most this share of the time; the rest of the machine has use for cores too
)
_TIMES = 3  # measurements of each shape, after a first one that does not count


class Computing(Protocol):
    """The part of a target that is measured."""

    pool: PagePool

    def forward(self, rows: Sequence[Row]) -> torch.Tensor:
        """Logits [wanted, vocab]."""


def fastest_threads(target: Computing) -> int:
    """The number of torch's CPU threads with which forwards are fast; afterwards torch has some number of them.

    What threads cost each other is more than they bring where the target is small. Of two numbers that are about as
    fast it is the smaller, which leaves cores to the broker and to whatever else runs on the machine.
    """
    counts = [torch.get_num_threads()]
    if target.pool.available < max(rows * pages_for(fed) for rows, fed in _SHAPES):
        return counts[0]
    while counts[-1] > 1:
        counts.append(counts[-1] // 2)
    times = {count: math.prod(_forward_seconds(target, count, *shape) for shape in _SHAPES) for count in counts}
    best = counts.pop()
    while counts and times[counts[-1]] < _WORTH ** len(_SHAPES) * times[best]:
        best = counts.pop()
    return best


def _forward_seconds(target: Computing, threads: int, rows: int, fed: int) -> float:
    torch.set_num_threads(threads)
    measured = []
    with probe_rows(target.pool, [(0, fed)] * rows) as batch:
        for _ in range(_TIMES + 1):
            started = time.monotonic()
            target.forward(batch)
            measured.append(time.monotonic() - started)
    return statistics.median(measured[1:])
