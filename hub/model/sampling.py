"""The sampling rule of shared/sampling.py for a batch of rows, in torch on a CPU or a GPU: the same ids, id for id."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import islice
from typing import cast

import numpy as np
import torch
from torch import Tensor

from hub.model.batch import Row
from shared.guide import Masks, allowed
from shared.messages import MAX_SURPRISAL
from shared.sampling import (
    LARGE_VOCAB,
    LOUD,
    MIX_1,
    MIX_2,
    UNMIX_1,
    UNMIX_2,
    WEIGHT_ONE,
    floor,
    position_key,
)
from shared.sampling_parameters import MAX_VOCAB, Sampling

_WORD = 0xFFFFFFFF
# What is added to the logits of eight ids for each byte of a mask.
_ADDED = np.where(allowed(np.arange(256, dtype=np.uint32)[:, None], 8), np.float32(0), np.float32(-np.inf))
_FIRST_WIDTH = 256  # ids that are sorted first in search of a nucleus


def draw(logits: Tensor, samplings: Sequence[Sampling], positions: Sequence[int]) -> list[int]:
    """Return the token of each row of `logits` [rows, vocab], any float type, at its position under its sampling.

    Ids whose logit is -inf are never drawn. Raises ValueError if the logits are not rows of at most MAX_VOCAB floats,
    one for each sampling and position, or if a row holds NaN or +inf or nothing finite.
    """
    if logits.dim() != 2 or not logits.is_floating_point() or not 1 <= logits.shape[1] <= MAX_VOCAB:
        raise ValueError(f"logits must be rows of 1 to {MAX_VOCAB} floats, not {logits.dtype}{list(logits.shape)}")
    if not len(logits) == len(samplings) == len(positions):
        raise ValueError(f"{len(logits)} rows with {len(samplings)} samplings and {len(positions)} positions")
    tops, peaks = _peaks(logits)
    if not bool(peaks.isfinite().all()):
        raise ValueError("a row holds NaN or +inf, or nothing finite: check the model's output")
    return _drawn(logits, tops, peaks, samplings, positions)


def draw_wanted(logits: Tensor, rows: Sequence[Row], vocab_size: int) -> list[list[int] | None]:
    """Return for each row the tokens that follow the places whose logits it wants; ids from `vocab_size` on are never drawn.

    None stands for a row of which a place holds NaN or +inf, or nothing finite.
    """
    logits = logits[:, :vocab_size]
    samplings = [row.sampling for row in rows for _ in range(row.wanted)]
    positions = [row.end - row.wanted + 1 + i for row in rows for i in range(row.wanted)]
    if not samplings:
        return [[] for _ in rows]
    tops, peaks = _peaks(logits)
    sound = peaks.isfinite()
    usable = sound.tolist()
    if not all(usable):
        # Nothing is drawn there, and the others' tokens are as if it were not.
        logits, tops, peaks = logits[sound], tops[sound], peaks[sound]
        samplings = [sampling for sampling, its in zip(samplings, usable, strict=True) if its]
        positions = [position for position, its in zip(positions, usable, strict=True) if its]
    tokens = iter(_drawn(logits, tops, peaks, samplings, positions) if samplings else [])
    places = iter([next(tokens) if its else None for its in usable])
    told = [[next(places) for _ in range(row.wanted)] for row in rows]
    return [None if None in its else [token for token in its if token is not None] for its in told]


def guided(logits: Tensor, rows: Sequence[Row], vocab_size: int) -> Tensor:
    """Return the logits of ids below `vocab_size`, with -inf for those that the rows' masks leave out."""
    logits = logits[:, :vocab_size]
    places: list[int] = []
    masks: list[Masks] = []
    place = 0
    for row in rows:
        if row.masks is not None:
            places += range(place, place + row.wanted)
            masks.append(row.masks)
        place += row.wanted
    if not places:
        return logits
    if len(places) == len(logits):
        return _masked(logits, np.concatenate(masks))
    index = torch.tensor(places, device=logits.device)
    return logits.index_copy(0, index, _masked(logits[index], np.concatenate(masks)))


def surprisals(
    logits: Tensor, rows: Sequence[Row], drawn: Sequence[Sequence[int] | None], vocab_size: int
) -> list[tuple[int, ...]]:
    """Return for each row that wants it -ln p of the tokens that were drawn, in thousandths of a nat; nothing for the others.

    p is the model's own: no mask, no temperature. `logits` [places, vocab] are those of all rows.
    """
    places: list[int] = []
    tokens: list[int] = []
    place = 0
    for row, its in zip(rows, drawn, strict=True):
        if row.wants_surprisal and its is not None:
            places += range(place, place + row.wanted)
            tokens += its
        place += row.wanted
    if not places:
        return [()] * len(rows)
    chosen = logits if len(places) == len(logits) else logits[torch.tensor(places, device=logits.device)]
    chosen = chosen[:, :vocab_size].float()
    nats = chosen.logsumexp(1) - chosen.gather(1, torch.tensor(tokens, device=chosen.device)[:, None])[:, 0]
    told = iter((nats * 1e3).round().clamp(0, MAX_SURPRISAL).int().tolist())
    return [
        tuple(islice(told, row.wanted)) if row.wants_surprisal and its is not None else ()
        for row, its in zip(rows, drawn, strict=True)
    ]


def _masked(logits: Tensor, masks: Masks) -> Tensor:
    """Return the logits [places, vocab] with -inf where the masks [places, words] have no bit."""
    size = logits.shape[1]
    if logits.device.type == "cpu":
        # Adding what a table has for each byte takes a sixth of the time of a fill.
        added = _ADDED.take(masks.view(np.uint8), axis=0).reshape(len(masks), -1)[:, :size]
        return logits + torch.from_numpy(added).to(logits.dtype)
    return unpacked_there(logits, masks)


def unpacked_there(logits: Tensor, masks: Masks) -> Tensor:
    """Return the same as `guided`, the masks unpacked where the logits are: as they are they take a 32nd of the way to a GPU."""
    words = torch.from_numpy(masks.view(np.int32)).to(logits.device)
    bits = torch.arange(32, dtype=torch.int32, device=logits.device)
    left_out = ((words[:, :, None] >> bits) & 1 == 0).flatten(1)[:, : logits.shape[1]]
    return logits.masked_fill(left_out, -math.inf)


def _peaks(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Return the first id of each row's largest logit, or a NaN's if there is one, and the logit, float64; both [rows]."""
    tops = _argmax(logits)
    return tops, logits.gather(1, tops[:, None])[:, 0].double()


def _drawn(
    logits: Tensor, tops: Tensor, peaks: Tensor, samplings: Sequence[Sampling], positions: Sequence[int]
) -> list[int]:
    drawn = cast(list[int], tops.tolist())
    noisy = [row for row, sampling in enumerate(samplings) if sampling.temperature > 0]
    if noisy:
        chosen = logits if len(noisy) == len(logits) else logits[noisy]
        ids = _race(chosen, tops[noisy], peaks[noisy], [samplings[r] for r in noisy], [positions[r] for r in noisy])
        for row, token in zip(noisy, ids, strict=True):
            drawn[row] = token
    return drawn


def noise_hash(key_a: Tensor, key_b: Tensor, ids: Tensor) -> Tensor:
    """Return h = mix(mix(id ^ a) ^ b), int64 of 32 bits, as shared.sampling.noise_hash does. Shapes broadcast."""
    return _mix(_mix(ids ^ key_a) ^ key_b)


def gumbel(hashes: Tensor) -> Tensor:
    """Return g = -log(-log1p(-u)) with u = (h + 1/2) / 2**32, float64, in the shape of `hashes`."""
    u = (hashes.double() + 0.5) / 2**32
    return -(-(-u).log1p()).log()


def _race(
    logits: Tensor, tops: Tensor, peaks: Tensor, samplings: Sequence[Sampling], positions: Sequence[int]
) -> list[int]:
    """Return the argmax of logits / T + g over what the filters leave of each row; `tops`, `peaks` are [rows]."""
    device = logits.device
    keys = torch.tensor([position_key(s.seed, p) for s, p in zip(samplings, positions, strict=True)], device=device)
    leads = gumbel(noise_hash(keys[:, 0], keys[:, 1], tops)).tolist()
    eps = torch.finfo(logits.dtype).eps
    heights = peaks.tolist()
    vocab = logits.shape[1]
    floors = [floor(h, g, s.temperature, vocab, eps) for h, g, s in zip(heights, leads, samplings, strict=True)]
    temperatures = torch.tensor([s.temperature for s in samplings], dtype=torch.float64, device=device)

    # Pairs (row, id) that can win, as indices into the flattened logits; a pair may come twice, to no effect.
    lowest = torch.tensor(floors, dtype=torch.float64, device=device).clamp(min=torch.finfo(logits.dtype).min)
    near = _where((logits >= lowest.to(logits.dtype)[:, None]).flatten())
    pairs = torch.cat([near, _loud(keys, vocab)])
    rows = pairs // vocab
    ids = pairs - rows * vocab
    values = logits.reshape(-1).index_select(0, pairs).double()
    if any(s.top_k or s.top_p < 1 for s in samplings):
        bounds = [_cut(logits[row], heights[row], s) for row, s in enumerate(samplings)]
        cuts = torch.tensor([cut for cut, _ in bounds], dtype=torch.float64, device=device).index_select(0, rows)
        lasts = torch.tensor([last for _, last in bounds], device=device).index_select(0, rows)
        kept = ((values > cuts) | ((values == cuts) & (ids <= lasts))).nonzero()[:, 0]
        rows, ids, values = (t.index_select(0, kept) for t in (rows, ids, values))
    noise = gumbel(noise_hash(keys[:, 0].index_select(0, rows), keys[:, 1].index_select(0, rows), ids))
    scores = (values - peaks.index_select(0, rows)) / temperatures.index_select(0, rows) + noise
    best = torch.full_like(peaks, -math.inf).scatter_reduce(0, rows, scores, "amax")
    winning = (scores == best.index_select(0, rows)).nonzero()[:, 0]
    winners = torch.full_like(tops, MAX_VOCAB).scatter_reduce(
        0, rows.index_select(0, winning), ids.index_select(0, winning), "amin"
    )
    return cast(list[int], winners.tolist())


def _argmax(logits: Tensor) -> Tensor:
    """Return the index of the first largest of each row; on a CPU by numpy, which is several times faster at it."""
    if logits.device.type == "cpu" and logits.dtype in (torch.float32, torch.float64):
        return torch.from_numpy(logits.numpy().argmax(axis=1))
    return logits.argmax(dim=1)


def _where(mask: Tensor) -> Tensor:
    """Return the indices at which `mask` [n] is true; on a CPU by numpy, which skips what is false much faster."""
    if mask.device.type == "cpu":
        return torch.from_numpy(np.flatnonzero(mask.numpy()))
    return mask.nonzero()[:, 0]


def _loud(keys: Tensor, vocab: int) -> Tensor:
    """Return shared.sampling.loud_ids of each row's key, as indices row * vocab + id."""
    if vocab < LARGE_VOCAB:
        return torch.empty(0, dtype=torch.int64, device=keys.device)
    loud = _unmix(torch.arange(LOUD, device=keys.device))
    ids = _unmix(loud ^ keys[:, 1:]) ^ keys[:, :1]
    rows, columns = (ids < vocab).nonzero(as_tuple=True)
    return rows * vocab + ids[rows, columns]


def _cut(logits: Tensor, peak: float, sampling: Sampling) -> tuple[float, int]:
    """Return what top-k and top-p leave of a row: the ids above the cut, and those at the cut up to and including `last`."""
    size = len(logits)
    if not 0 < sampling.top_k < size and sampling.top_p == 1:
        return -math.inf, size
    total = 0 if sampling.top_k else int(_weights(logits, peak, sampling.temperature).sum())
    width = min(sampling.top_k or _FIRST_WIDTH, size)
    while True:
        largest = logits.topk(width).values
        weights = _weights(largest, peak, sampling.temperature)
        # An id stays while those before it hold less than the share; with top_p = 1 all of the top k stay.
        share = sampling.top_p * (total or int(weights.sum())) if sampling.top_p < 1 else math.inf
        keep = int(((weights.cumsum(0) - weights).double() < share).sum())
        if keep < width or sampling.top_k or width == size:
            break
        width = min(8 * width, size)
    cut = float(largest[keep - 1])
    ties = (logits == cut).nonzero()[:, 0]
    return cut, int(ties[keep - 1 - int((logits > cut).sum())])


def _weights(logits: Tensor, peak: float, temperature: float) -> Tensor:
    """Return each id's probability relative to the likeliest one's, int64 in units of 1 / WEIGHT_ONE, rounded down."""
    return (((logits.double() - peak) / temperature).exp() * WEIGHT_ONE).long()


def _mix(x: Tensor) -> Tensor:
    x = ((x ^ (x >> 16)) * MIX_1) & _WORD
    x = ((x ^ (x >> 15)) * MIX_2) & _WORD
    return x ^ (x >> 15)


def _unmix(x: Tensor) -> Tensor:
    """Return the word that _mix takes to `x`."""
    x = ((x ^ (x >> 15) ^ (x >> 30)) * UNMIX_2) & _WORD
    x = ((x ^ (x >> 15) ^ (x >> 30)) * UNMIX_1) & _WORD
    return x ^ (x >> 16)
