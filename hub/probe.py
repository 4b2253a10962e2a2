"""Forwards for no session: to see that a target works, and how long its forwards take."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from hub.batch import Row
from hub.forward_time import ForwardTime
from hub.pages import PagePool, pages_for
from hub.session import HubSession, Limits, SessionKey

if TYPE_CHECKING:
    from hub.target import Target

_LIMITS = Limits(context=2**30, vocab_size=2**31, end_ids=frozenset(), max_draft=1)
_SHAPES = ((1, 1), (1, 8), (8, 1), (8, 4), (24, 1))  # rows, ids of each
_TIMES = 3  # that each is measured, after a first time that does not count


@contextmanager
def probe_rows(pool: PagePool, shapes: Sequence[tuple[int, int]]) -> Iterator[list[Row]]:
    """A row for each (ids held, ids fed), all of whose logits are wanted; their pages hold whatever was there.

    Raises OutOfPages.
    """
    rows: list[Row] = []
    try:
        for number, (held, fed) in enumerate(shapes):
            session = HubSession(SessionKey("probe", number.to_bytes(16, "big")), _LIMITS)
            pool.grow(session.pages, held + fed)
            rows.append(Row(session, held, (0,) * fed, wanted=fed, prefill=False))
        yield rows
    finally:
        for row in rows:
            pool.shrink(row.session.pages, 0)


def measured_forward_time(target: Target) -> ForwardTime:
    """What a few forwards say, so that the first sessions are planned for by measurements; takes about twenty of them."""
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
