"""Trials of a target with other numbers of rows: whether they move a text's bits, and what a step takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from hub.kv.pages import pages_for
from hub.model.batch import Row
from hub.model.probe_rows import Measured, forward_seconds, probe_rows
from hub.model.self_check import Computing

STEPS = (1, 8, 32)  # rows of one id whose forwards are timed
# Ids of a forward. Libraries change their ways at powers of two and near them; the last is more than a CUDA graph takes.
_COUNTS = (1, 2, 3, 4, 5, 7, 8, 9, 13, 16, 17, 24, 31, 32, 33, 48, 64, 65, 96, 128, 192, 256, 384, 512, 600)
_FED = 8  # ids of the text, at most, that one of the two forwards for each count is given
_TIMES = 9


@torch.inference_mode()
def bits_move(target: Computing, text: Sequence[int], most: int) -> bool:
    """Whether the logits behind the last id of `text` differ in any bit between forwards of up to `most` ids, as far as pages reach."""
    with probe_rows(target.pool, [(0, len(text))]) as (whole,):
        first = target.compute(target.prepare([replace(whole, ids=tuple(text), wanted=1)])).clone()
        for count in (count for count in _COUNTS if count <= most):
            for fed in {1, min(count, _FED, len(text))}:
                if count - fed > target.pool.available:
                    return False
                start = len(text) - fed
                row = replace(whole, start=start, ids=tuple(text[start:]), wanted=1)
                if not torch.equal(_last_beside(target, row, count - fed), first):
                    return True
    return False


def _last_beside(target: Computing, row: Row, others: int) -> torch.Tensor:
    """Logits [1, vocab] behind the row, in the middle of so many others of one id."""
    before = others // 2
    with probe_rows(target.pool, [(0, 1)] * others) as beside:
        logits = target.compute(target.prepare([*beside[:before], row, *beside[before:]]))
        return logits[before : before + 1].clone()


def step_seconds(target: Measured) -> list[float]:
    """The median time of a forward of as many rows as each of `STEPS` says, as far as pages reach."""
    reached = [count for count in STEPS if count * pages_for(1) <= target.pool.available]
    return [forward_seconds(target, [(0, 1)] * count, _TIMES) for count in reached]
