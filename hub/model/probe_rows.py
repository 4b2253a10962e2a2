"""Rows that belong to no session: for looking at whether a target works, and at how long its forwards take."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

import torch

from hub.kv.pages import PagePool
from hub.model.batch import Row


class Measured(Protocol):
    """The part of a target that is measured."""

    pool: PagePool

    def forward(self, rows: Sequence[Row]) -> torch.Tensor:
        """Logits [wanted, vocab]."""


@contextmanager
def probe_rows(pool: PagePool, shapes: Sequence[tuple[int, int]]) -> Iterator[list[Row]]:
    """A row for each (ids held, ids fed), all of whose logits are wanted; their pages hold whatever was there.

    The pages go back to the pool when the context ends. Raises OutOfPages.
    """
    tables: list[list[int]] = [[] for _ in shapes]
    try:
        for table, (held, fed) in zip(tables, shapes, strict=True):
            pool.grow(table, held + fed)
        yield [Row(table, held, (0,) * fed, wanted=fed) for table, (held, fed) in zip(tables, shapes, strict=True)]
    finally:
        for table in tables:
            pool.shrink(table, 0)


def forward_seconds(target: Measured, shapes: Sequence[tuple[int, int]], times: int) -> float:
    """The median time of so many forwards of probe rows, behind a first that makes what is made once. Raises OutOfPages."""
    measured = []
    with probe_rows(target.pool, shapes) as rows:
        for _ in range(times + 1):
            started = time.perf_counter()
            target.forward(rows)
            measured.append(time.perf_counter() - started)
    return statistics.median(measured[1:])
