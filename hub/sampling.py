"""The sampling rule of shared/sampling.py for a batch of rows, in torch on a CPU or a GPU: the same ids, id for id.

An id can win only if its logit is near enough to the best score known for its row, or if its noise is exceptional.
Those that can are collected over all rows as (row, id) pairs and enter a race, where a cheap test of the hash decides
which of them are worth a logarithm. Rows need not be alike: greedy, sampled and filtered ones share each step.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import cast

import torch
from torch import Tensor

from shared.sampling import (
    MAX_VOCAB,
    MIX_1,
    MIX_2,
    UNMIX_1,
    UNMIX_2,
    WEIGHT_ONE,
    Sampling,
    loud_hashes,
    position_key,
    quiet_noise,
)

Pairs = tuple[Tensor, Tensor]  # rows and ids, int64 [pairs] each

_WORD = 0xFFFFFFFF
# Elements per step. On a CPU: few enough for the second-level cache, and for torch to do without waking its threads.
_STEP = {"cpu": 2**15, "cuda": 2**22}


def draw(
    logits: Tensor, samplings: Sequence[Sampling], positions: Sequence[int], *, vocab_size: int | None = None
) -> list[int]:
    """Return the token of each row of `logits` [rows, vocab], any float type, at its position under its sampling.

    Ids from `vocab_size` on and ids whose logit is -inf are never drawn. Raises ValueError if the logits are not rows
    of at most MAX_VOCAB floats, one for each sampling and position, or if a row holds NaN or +inf or nothing finite.
    """
    if logits.dim() != 2 or not logits.is_floating_point():
        raise ValueError(f"logits must be rows of floats, not {logits.dtype}{list(logits.shape)}")
    if not len(logits) == len(samplings) == len(positions):
        raise ValueError(
            f"{len(logits)} rows need a sampling and a position each: got {len(samplings)}, {len(positions)}"
        )
    logits = logits[:, :vocab_size]
    if not 1 <= logits.shape[1] <= MAX_VOCAB:
        raise ValueError(f"a row must have from 1 to {MAX_VOCAB} logits, not {logits.shape[1]}")
    if not samplings:
        return []
    champions = _champions(logits)
    peaks, stripe = logits.gather(1, champions).max(dim=1)  # the first of equals; a NaN if there is one
    if not bool(peaks.isfinite().all()):
        raise ValueError("a row holds NaN or +inf, or nothing finite: check the model's output")
    drawn = champions.gather(1, stripe[:, None])[:, 0]
    if any(sampling.temperature for sampling in samplings):
        race = _Race(logits, peaks, samplings, positions)
        race.enter(*_all_pairs(champions))
        for rows, ids in _merged(race.contenders(), _step(logits)):
            race.enter(rows, ids)
        drawn = torch.where(race.greedy, drawn, race.winner)
    return cast(list[int], drawn.tolist())


def noise_hash(key_a: Tensor, key_b: Tensor, ids: Tensor) -> Tensor:
    """Return h = mix(mix(id ^ a) ^ b), int64 of 32 bits, as shared.sampling.noise_hash does. Shapes broadcast."""
    return _mix(_mix(ids ^ key_a) ^ key_b)


def gumbel(hashes: Tensor) -> Tensor:
    """Return g = -log(-log1p(-u)) with u = (h + 1/2) / 2**32, float64, in the shape of `hashes`."""
    u = (hashes.double() + 0.5) / 2**32
    return -(-(-u).log1p()).log()


class _Race:
    """The running argmax of logits / T + g in each row of `logits` [rows, vocab]; all tensors without a shape: [rows].

    A greedy row's cut is +inf, so that nobody enters for it.
    """

    def __init__(self, logits: Tensor, peaks: Tensor, samplings: Sequence[Sampling], positions: Sequence[int]) -> None:
        device = logits.device
        keys = [position_key(sampling.seed, position) for sampling, position in zip(samplings, positions, strict=True)]
        self.key_a, self.key_b = torch.tensor(keys, device=device).unbind(dim=1)
        self.logits, self.flat = logits, logits.reshape(-1)
        self.peaks = peaks.double()
        self.greedy = torch.tensor([s.temperature == 0 for s in samplings], device=device)
        self.temperature = torch.tensor([s.temperature or 1 for s in samplings], dtype=torch.float64, device=device)
        self.cut, self.last = _cuts(logits, self.peaks, self.temperature, samplings)
        self.cut.masked_fill_(self.greedy, math.inf)
        self.best = torch.full_like(self.peaks, -math.inf)
        self.winner = torch.full_like(self.last, MAX_VOCAB)
        # For the screen in `enter`: a larger temperature lets more through, and this one is not 0 in float32.
        self.screen = torch.float64 if logits.dtype == torch.float64 else torch.float32
        self.screen_temperature = self.temperature.clamp(min=1e-30).to(self.screen)

    def enter(self, rows: Tensor, ids: Tensor) -> None:
        """Let the pairs race against the best so far; a pair may enter twice."""
        logits = self.flat.index_select(0, rows * self.logits.shape[1] + ids)
        hashes = noise_hash(self.key_a.index_select(0, rows), self.key_b.index_select(0, rows), ids)
        # g < -log(u), so beating the best takes u < exp(scaled logit - best): true of about one id per row and pass.
        scaled = logits.to(self.screen) - self.peaks.to(self.screen).index_select(0, rows)
        scaled /= self.screen_temperature.index_select(0, rows)
        scaled -= self.best.to(self.screen).index_select(0, rows)
        passing = (hashes.to(self.screen) <= scaled.exp() * (1.001 * 2**32)).nonzero()[:, 0]
        logits, hashes, rows, ids = (t.index_select(0, passing) for t in (logits, hashes, rows, ids))
        scores = (logits.double() - self.peaks[rows]) / self.temperature[rows] + gumbel(hashes)
        cut = self.cut[rows]
        scores.masked_fill_((logits < cut) | ((logits == cut) & (ids > self.last[rows])), -math.inf)
        before, self.best = self.best, self.best.scatter_reduce(0, rows, scores, "amax")
        # The smallest id among equals, the winner so far included.
        equals = torch.where(scores == self.best[rows], ids, MAX_VOCAB)
        winner = torch.where(self.best == before, self.winner, MAX_VOCAB)
        self.winner = winner.scatter_reduce(0, rows, equals, "amin")

    def contenders(self) -> Iterator[Pairs]:
        """Yield every pair that may beat the best so far: those that have the logit for it, and the loud ones."""
        vocab = self.logits.shape[1]
        floor = self.peaks + self.temperature * (self.best - quiet_noise(vocab))
        # Down by more than the rounding of a logit, so that comparing in the logits' own type drops nothing too much.
        info = torch.finfo(self.logits.dtype)
        floor -= 2 * info.eps * (self.peaks.abs() + floor.abs())
        floor = torch.maximum(floor.to(self.logits.dtype).clamp(min=info.min), self.cut)
        for part in _stripes(vocab, self.logits):
            rows, ids = (self.logits[:, part] >= floor[:, None]).nonzero(as_tuple=True)
            yield rows, ids + part.start
        unmixed = _unmix(torch.arange(loud_hashes(vocab), device=floor.device))
        for part in _stripes(len(unmixed), self.logits):
            ids = _unmix(unmixed[part] ^ self.key_b[:, None]) ^ self.key_a[:, None]
            rows, column = (ids < vocab).nonzero(as_tuple=True)
            yield rows, ids[rows, column]


def _champions(logits: Tensor) -> Tensor:
    """Return the id of the largest logit of each stripe, the first of equals, int64 [rows, stripes]."""
    return torch.stack([logits[:, s].argmax(dim=1) + s.start for s in _stripes(logits.shape[1], logits)], dim=1)


def _all_pairs(ids: Tensor) -> Pairs:
    """Return `ids` [rows, n] as pairs."""
    rows = torch.arange(len(ids), device=ids.device)[:, None].expand_as(ids)
    return rows.reshape(-1), ids.reshape(-1)


def _merged(pairs: Iterator[Pairs], most: int) -> Iterator[Pairs]:
    """Yield the same pairs in few groups, of at most `most` unless one is larger by itself."""
    held: list[Pairs] = []
    size = 0
    for rows, ids in pairs:
        if held and size + len(rows) > most:
            yield torch.cat([r for r, _ in held]), torch.cat([i for _, i in held])
            held, size = [], 0
        held.append((rows, ids))
        size += len(rows)
    yield torch.cat([r for r, _ in held]), torch.cat([i for _, i in held])


def _cuts(logits: Tensor, peaks: Tensor, temperature: Tensor, samplings: Sequence[Sampling]) -> tuple[Tensor, Tensor]:
    """Return what the filters leave of each row: ids above the cut, and those at the cut up to and including id `last`.

    cut [rows] has the type of `logits`, -inf where there is no filter; last [rows] is int64.
    """
    cut, last = (
        torch.full_like(logits[:, 0], -math.inf),
        torch.full_like(logits[:, 0], logits.shape[1], dtype=torch.int64),
    )
    filtered = [row for row, s in enumerate(samplings) if s.temperature and (s.top_k or s.top_p < 1)]
    if filtered:
        rows = torch.tensor(filtered, device=logits.device)
        chosen = [samplings[row] for row in filtered]
        cut[rows], last[rows] = _filter(logits[rows], peaks[rows], temperature[rows], chosen)
    return cut, last


def _filter(logits: Tensor, peaks: Tensor, temperature: Tensor, samplings: Sequence[Sampling]) -> tuple[Tensor, Tensor]:
    """Return cut and last as _cuts does, for rows that all have a filter."""
    vocab, device = logits.shape[1], logits.device
    top_k = torch.tensor([s.top_k for s in samplings], device=device)
    # An id stays while those before it hold less than the share; with top_p = 1 all of the top k stay.
    top_p = torch.tensor([s.top_p if s.top_p < 1 else math.inf for s in samplings], dtype=torch.float64, device=device)
    whole = torch.zeros_like(top_k)
    if not all(s.top_k for s in samplings):
        for part in _stripes(vocab, logits):
            whole += _weights(logits[:, part], peaks, temperature).sum(dim=1)
    cut, last = torch.empty_like(logits[:, 0]), torch.full_like(top_k, vocab)
    rows, width = torch.arange(len(logits), device=device), 256
    while len(rows):
        width = min(width, vocab)
        k = torch.where(top_k[rows] > 0, top_k[rows], vocab)
        largest = logits[rows].topk(min(width + 1, vocab)).values  # one more than asked, to see a tie at the boundary
        in_k = torch.arange(width, device=device) < k[:, None]
        weights = _weights(largest[:, :width], peaks[rows], temperature[rows]) * in_k
        share = top_p[rows] * torch.where(top_k[rows] > 0, weights.sum(dim=1), whole[rows]).double()
        before = weights.cumsum(dim=1) - weights
        keep = (in_k & (before.double() < share[:, None])).sum(dim=1)
        cut[rows] = largest.gather(1, keep[:, None] - 1)[:, 0]
        at_cut = keep - (largest > cut[rows, None]).sum(dim=1)
        settled = (width >= k) | ((top_k[rows] == 0) & (keep < width)) | (width == vocab)
        crowded = settled & ((largest == cut[rows, None]).sum(dim=1) > at_cut)
        ties = logits[rows[crowded]] == cut[rows[crowded], None]
        last[rows[crowded]] = (ties.cumsum(dim=1) < at_cut[crowded, None]).sum(dim=1)
        rows, width = rows[~settled], 8 * width
    return cut, last


def _weights(logits: Tensor, peaks: Tensor, temperature: Tensor) -> Tensor:
    """Return each id's probability relative to the likeliest one's, int64 in units of 1 / WEIGHT_ONE, rounded down."""
    scaled = (logits.double() - peaks[:, None]) / temperature[:, None]
    return (scaled.exp() * WEIGHT_ONE).long()


def _step(logits: Tensor) -> int:
    return _STEP[logits.device.type]


def _stripes(width: int, logits: Tensor) -> Iterator[slice]:
    """Yield ranges of columns that cover `width`, each holding about a step's elements over all rows of `logits`."""
    columns = max(1, _step(logits) // len(logits))
    for start in range(0, width, columns):
        yield slice(start, min(start + columns, width))


def _mix(x: Tensor) -> Tensor:
    x = ((x ^ (x >> 16)) * MIX_1) & _WORD
    x = ((x ^ (x >> 15)) * MIX_2) & _WORD
    return x ^ (x >> 15)


def _unmix(x: Tensor) -> Tensor:
    """Return the word that _mix takes to `x`."""
    x = ((x ^ (x >> 15) ^ (x >> 30)) * UNMIX_2) & _WORD
    x = ((x ^ (x >> 15) ^ (x >> 30)) * UNMIX_1) & _WORD
    return x ^ (x >> 16)
