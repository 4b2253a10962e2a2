"""Rows that belong to no session: for looking at whether a target works, and at how long its forwards take."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from hub.kv.pages import PagePool
from hub.model.batch import Row


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
