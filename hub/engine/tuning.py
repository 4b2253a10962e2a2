"""What is measured before a hub serves: how long its target's forwards take."""

from __future__ import annotations

import time

from hub.engine.forward_time import ForwardTime
from hub.kv.pages import pages_for
from hub.model.probe_rows import probe_rows
from hub.model.target import Target

_SHAPES = ((1, 1), (1, 8), (8, 1), (8, 4), (24, 1))  # rows, and ids of each, that are measured
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
