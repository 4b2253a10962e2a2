"""With how many CPU threads a target is fastest, measured."""

from __future__ import annotations

import math

import torch

from hub.kv.pages import pages_for
from hub.model.probe_rows import Measured, forward_seconds

_SHAPES = ((1, 8), (4, 4))  # rows, and ids of each
_WORTH = (
    0.9  # twice the threads must take at most this share of the time; the rest of the machine has use for cores too
)
_TIMES = 3  # measurements of each shape, after a first one that does not count


def fastest_threads(target: Measured, *, crowded: bool) -> int:
    """The number of torch's CPU threads with which forwards are fast; afterwards torch has some number of them.

    What threads cost each other is more than they bring where the target is small. Of two numbers that are about as
    fast it is the smaller, which leaves cores to the broker and to whatever else runs on the machine. On a machine that is `crowded`, with
    programs that compute, it is the larger: they may end, and the number stays.
    """
    counts = [torch.get_num_threads()]
    if target.pool.available < max(rows * pages_for(fed) for rows, fed in _SHAPES):
        return counts[0]
    while counts[-1] > 1:
        counts.append(counts[-1] // 2)
    times = {}
    for count in counts:
        torch.set_num_threads(count)
        times[count] = math.prod(forward_seconds(target, [(0, fed)] * rows, _TIMES) for rows, fed in _SHAPES)
    worth = (1 / _WORTH if crowded else _WORTH) ** len(_SHAPES)
    best = counts.pop()
    while counts and times[counts[-1]] < worth * times[best]:
        best = counts.pop()
    return best
