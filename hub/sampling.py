"""The sampling rule of shared/sampling.py for a batch of rows, in torch on a CPU or a GPU: the same ids, id for id.

Per row: the top id and its noise give a floor that a rival's logit must reach, unless its noise is exceptional. Those at
or above the floor, and the few exceptional ones, are collected as (row, id) pairs, and only they get noise and race.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from shared.sampling import (
    LOUD,
    MAX_NOISE,
    MAX_VOCAB,
    MIX_1,
    MIX_2,
    QUIET_NOISE,
    UNMIX_1,
    UNMIX_2,
    WEIGHT_ONE,
    Sampling,
    position_key,
)

Pairs = tuple[Tensor, Tensor]  # rows and ids, int64 [pairs] each

_WORD = 0xFFFFFFFF
# Elements per step. On a CPU: what the second-level cache holds and torch handles without waking its threads.
_STEP = {"cpu": 2**15, "cuda": 2**22}


@dataclass(frozen=True, slots=True)
class _Rows:
    """A batch of rows: logits [rows, vocab or more] as given, everything else [rows]."""

    logits: Tensor
    vocab: int
    tops: Tensor  # int64, the id of the largest logit
    peaks: Tensor  # float64, that logit
    temperature: Tensor  # float64, 1 where the row is greedy
    key_a: Tensor  # int64, 32 bits each
    key_b: Tensor
    cut: Tensor  # ids above this logit survive the filters,
    last: Tensor  # and those at it up to and including this id


def draw(
    logits: Tensor, samplings: Sequence[Sampling], positions: Sequence[int], *, vocab_size: int | None = None
) -> list[int]:
    """The token of each row of `logits` [rows, vocab], any float type, at its position under its sampling.

    Ids from `vocab_size` on and ids whose logit is -inf are never drawn. Raises ValueError if the logits are not rows
    of at most MAX_VOCAB floats, one for each sampling and position, or if a row holds NaN or +inf or nothing finite.
    """
    if logits.dim() != 2 or not logits.is_floating_point():
        raise ValueError(f"logits must be rows of floats, not {logits.dtype}{list(logits.shape)}")
    if not len(logits) == len(samplings) == len(positions):
        raise ValueError(
            f"{len(logits)} rows need as many samplings ({len(samplings)}) and positions ({len(positions)})"
        )
    inside = logits[:, :vocab_size]
    if not 1 <= inside.shape[1] <= MAX_VOCAB:
        raise ValueError(f"a row must have from 1 to {MAX_VOCAB} logits, not {inside.shape[1]}")
    if not samplings:
        return []
    peaks, tops = inside.max(dim=1)  # the first of equals; a NaN if there is one
    if not bool(peaks.isfinite().all()):
        raise ValueError("a row holds NaN or +inf, or nothing finite: check the model's output")
    if any(sampling.temperature > 0 for sampling in samplings):
        tops = _race(_prepare(logits, inside, peaks, tops, samplings, positions))
    return cast(list[int], tops.tolist())


def noise_hash(key_a: Tensor, key_b: Tensor, ids: Tensor) -> Tensor:
    """h = mix(mix(id ^ a) ^ b) as int64 of 32 bits: the same as shared.sampling.noise_hash. Shapes broadcast."""
    return _mix(_mix(ids ^ key_a) ^ key_b)


def gumbel(hashes: Tensor) -> Tensor:
    """g = -log(-log1p(-u)) with u = (h + 1/2) / 2**32, float64, in the shape of `hashes`."""
    u = (hashes.double() + 0.5) / 2**32
    return -(-(-u).log1p()).log()


def _prepare(
    logits: Tensor, inside: Tensor, peaks: Tensor, tops: Tensor, samplings: Sequence[Sampling], positions: Sequence[int]
) -> _Rows:
    device = logits.device
    keys = [position_key(sampling.seed, position) for sampling, position in zip(samplings, positions, strict=True)]
    key_a, key_b = torch.tensor(keys, device=device).unbind(dim=1)
    temperature = torch.tensor([s.temperature or 1.0 for s in samplings], dtype=torch.float64, device=device)
    # A greedy row lets nobody race against its top id; a row without filters lets everybody.
    cut = torch.tensor([-torch.inf if s.temperature else torch.inf for s in samplings], device=device).to(logits.dtype)
    last = torch.full_like(tops, inside.shape[1])
    filtered = [row for row, s in enumerate(samplings) if s.temperature and (s.top_k or s.top_p < 1)]
    if filtered:
        rows = torch.tensor(filtered, device=device)
        chosen = [samplings[row] for row in filtered]
        cut[rows], last[rows] = _cuts(inside[rows], peaks[rows].double(), temperature[rows], chosen)
    return _Rows(logits, inside.shape[1], tops, peaks.double(), temperature, key_a, key_b, cut, last)


def _race(rows: _Rows) -> Tensor:
    """The argmax of logits / T + g per row, int64 [rows]."""
    flat = rows.logits.reshape(-1)
    best = gumbel(noise_hash(rows.key_a, rows.key_b, rows.tops))
    winner = rows.tops
    for row, ids in _merged(_contenders(rows, best), _STEP[flat.device.type]):
        logits = flat.index_select(0, row * rows.logits.shape[1] + ids)
        cut, last = rows.cut.index_select(0, row), rows.last.index_select(0, row)
        scores = (logits.double() - rows.peaks.index_select(0, row)) / rows.temperature.index_select(0, row)
        scores += gumbel(noise_hash(rows.key_a.index_select(0, row), rows.key_b.index_select(0, row), ids))
        scores = scores.masked_fill((logits < cut) | ((logits == cut) & (ids > last)), -torch.inf)
        before, best = best, best.scatter_reduce(0, row, scores, "amax")
        # The smallest id among equals, the winner so far included.
        winner = torch.where(before == best, winner, MAX_VOCAB)
        ids = torch.where(scores == best.index_select(0, row), ids, MAX_VOCAB)
        winner = winner.scatter_reduce(0, row, ids, "amin")
    return winner


def _contenders(rows: _Rows, lead: Tensor) -> Iterator[Pairs]:
    """Every pair that may beat the row's top id, whose noise is `lead` [rows]: it has the logit for it, or it is loud."""
    loud = rows.vocab > LOUD
    floor = rows.peaks - rows.temperature * ((QUIET_NOISE if loud else MAX_NOISE) - lead)
    # Down by more than the rounding of a logit, so that comparing in the logits' own type drops nothing too much.
    info = torch.finfo(rows.logits.dtype)
    floor -= 2 * info.eps * (rows.peaks.abs() + floor.abs())
    floor = torch.maximum(floor.to(rows.logits.dtype).clamp(min=info.min), rows.cut)[:, None]
    for part in _stripes(rows.vocab, rows.logits):
        row, ids = (rows.logits[:, part] >= floor).nonzero(as_tuple=True)
        yield row, ids + part.start
    if loud:
        hashes = _unmix(torch.arange(LOUD, device=floor.device))
        for part in _stripes(LOUD, rows.logits):
            ids = _unmix(hashes[part] ^ rows.key_b[:, None]) ^ rows.key_a[:, None]
            row, column = (ids < rows.vocab).nonzero(as_tuple=True)
            yield row, ids[row, column]


def _merged(pairs: Iterator[Pairs], most: int) -> Iterator[Pairs]:
    """The same pairs in few large groups of about `most` at most."""
    held: list[Pairs] = []
    size = 0
    for rows, ids in pairs:
        if held and size + len(rows) > most:
            yield torch.cat([r for r, _ in held]), torch.cat([i for _, i in held])
            held, size = [], 0
        held.append((rows, ids))
        size += len(rows)
    if held:
        yield torch.cat([r for r, _ in held]), torch.cat([i for _, i in held])


def _cuts(logits: Tensor, peaks: Tensor, temperature: Tensor, samplings: Sequence[Sampling]) -> tuple[Tensor, Tensor]:
    """What top-k and top-p leave of `logits` [rows, vocab], as _Rows.cut and _Rows.last."""
    vocab, device = logits.shape[1], logits.device
    top_k = torch.tensor([s.top_k for s in samplings], device=device)
    # An id stays while those before it hold less than the share; with top_p = 1 all of the top k stay.
    top_p = torch.tensor([s.top_p if s.top_p < 1 else torch.inf for s in samplings], dtype=torch.float64, device=device)
    cut, last = torch.empty_like(logits[:, 0]), torch.full_like(top_k, vocab)
    whole = torch.zeros_like(top_k)
    if not all(s.top_k for s in samplings):
        for part in _stripes(vocab, logits):
            whole += _weights(logits[:, part], peaks, temperature).sum(dim=1)
    open_rows, width = torch.arange(len(logits), device=device), 256
    while len(open_rows):
        width = min(width, vocab)
        k = top_k[open_rows]
        largest = logits[open_rows].topk(min(width + 1, vocab)).values  # one more, to see a tie at the boundary
        weights = _weights(largest[:, :width], peaks[open_rows], temperature[open_rows])
        in_k = (torch.arange(width, device=device) < k[:, None]) | (k == 0)[:, None]
        weights = weights * in_k
        total = torch.where(k > 0, weights.sum(dim=1), whole[open_rows])
        share = top_p[open_rows] * total.double()
        before = weights.cumsum(dim=1) - weights
        keep = (in_k & (before.double() < share[:, None])).sum(dim=1)
        cut[open_rows] = largest.gather(1, keep[:, None] - 1)[:, 0]
        at_cut = keep - (largest > cut[open_rows, None]).sum(dim=1)
        crowded = (largest == cut[open_rows, None]).sum(dim=1) > at_cut
        settled = (width == vocab) | torch.where(k > 0, k <= width, keep < width)
        for_ties = crowded & settled
        ties = open_rows[for_ties]
        rank = (logits[ties] == cut[ties, None]).cumsum(dim=1)
        last[ties] = (rank < at_cut[for_ties, None]).sum(dim=1)
        open_rows, width = open_rows[~settled], 8 * width
    return cut, last


def _weights(logits: Tensor, peaks: Tensor, temperature: Tensor) -> Tensor:
    """Each token's probability relative to the likeliest one's, int64 in units of 1 / WEIGHT_ONE, rounded down."""
    scaled = (logits.double() - peaks[:, None]) / temperature[:, None]
    return (scaled.exp() * WEIGHT_ONE).long()


def _stripes(width: int, logits: Tensor) -> Iterator[slice]:
    """Ranges of columns that cover `width` and hold about one step's elements in all rows of `logits` together."""
    step = max(1, _STEP[logits.device.type] // len(logits))
    for start in range(0, width, step):
        yield slice(start, min(start + step, width))


def _mix(x: Tensor) -> Tensor:
    x = ((x ^ (x >> 16)) * MIX_1) & _WORD
    x = ((x ^ (x >> 15)) * MIX_2) & _WORD
    return x ^ (x >> 15)


def _unmix(x: Tensor) -> Tensor:
    """The inverse of _mix."""
    x = ((x ^ (x >> 15) ^ (x >> 30)) * UNMIX_2) & _WORD
    x = ((x ^ (x >> 15) ^ (x >> 30)) * UNMIX_1) & _WORD
    return x ^ (x >> 16)
