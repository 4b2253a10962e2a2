"""The sampling rule in numpy: which token a row of logits, a session's seed and a position give.

    x_i = argmax over the surviving v of [ logits_i(v) / T + g(seed, i, v) ]        (T = 0: plain argmax)

g is Gumbel noise, so x_i is distributed as softmax(logits_i / T) over the survivors (the Gumbel-max trick: Gumbel 1954;
Maddison, Tarlow and Minka 2014). The noise is a hash of (seed, position, id): node and hub draw the same token from the
same logits, and verification is a comparison. docs/sampling.md has the rule to the bit; hub/model/sampling.py has it for
batches in torch.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.sampling_parameters import MAX_VOCAB, WORD, Sampling

RULE_VERSION = 1
# One over the resolution of a nucleus weight. MAX_VOCAB weights sum below 2**63, so the sum is exact in any order.
WEIGHT_ONE = 2**40

MAX_NOISE = 22.88  # above the noise of every hash: gumbel(0) = 22.8739

# In a large vocabulary the few ids with a hash below LOUD are found by running the hash backwards. All others have less
# noise than QUIET_NOISE (gumbel(LOUD) = 14.5559), and an id that is far from the top can't win with that.
LOUD = 2048
QUIET_NOISE = 14.56
LARGE_VOCAB = 8 * LOUD

# x ^= x >> 16, x *= M1, x ^= x >> 15, x *= M2, x ^= x >> 15: found by search for the least bias (hash-prospector).
MIX_1, MIX_2 = 0x21F0AAAD, 0x735A2D97
UNMIX_1, UNMIX_2 = pow(MIX_1, -1, 2**32), pow(MIX_2, -1, 2**32)

_GOLDEN = 0x9E3779B97F4A7C15

Hashes = NDArray[np.uint32]
Reals = NDArray[np.float64]


def position_key(seed: int, position: int) -> tuple[int, int]:
    """Return two 32-bit words (a, b) from a seed and a token index, both 64 bits: a chain of three splitmix64 steps.

    position counts from the prompt's first token. Raises ValueError if either does not fit 64 bits.
    """
    if not 0 <= seed <= WORD or not 0 <= position <= WORD:
        raise ValueError(f"seed and position must be from 0 to {WORD}, not {seed} and {position}")
    key = _splitmix64(_splitmix64(_splitmix64(RULE_VERSION) ^ seed) ^ position)
    return key >> 32, key & 0xFFFFFFFF


def _splitmix64(x: int) -> int:
    """Return the output of splitmix64 (Steele, Lea and Flood 2014) for state x: a bijection of 64-bit words."""
    x = (x + _GOLDEN) & WORD
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & WORD
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & WORD
    return x ^ (x >> 31)


def noise_hash(key: tuple[int, int], ids: NDArray[np.integer[Any]]) -> Hashes:
    """Return h = mix(mix(id ^ a) ^ b), 32 bits each, in the shape of `ids`; under one key no two ids share a hash."""
    a, b = key
    return _mix(_mix(ids.astype(np.uint32) ^ np.uint32(a)) ^ np.uint32(b))


def loud_ids(key: tuple[int, int], vocab: int) -> NDArray[np.int64]:
    """Return the ids below `vocab` whose hash is below LOUD, in no order; none in a small vocabulary, which needs none."""
    if vocab < LARGE_VOCAB:
        return np.empty(0, np.int64)
    a, b = key
    ids = _unmix(_UNMIXED_LOUD ^ np.uint32(b)) ^ np.uint32(a)
    return ids[ids < vocab].astype(np.int64)


def gumbel(hashes: Hashes) -> Reals:
    """Return g = -log(-log1p(-u)) with u = (h + 1/2) / 2**32: standard Gumbel noise, falling in h, from 22.88 to -3.13."""
    u = (hashes.astype(np.float64) + 0.5) / 2**32
    return -np.log(-np.log1p(-u))


def draw(logits: NDArray[np.floating[Any]], sampling: Sampling, position: int, *, vocab_size: int | None = None) -> int:
    """Return the token that `logits` [vocab] give at `position` (counted from the prompt's first token).

    Ids from `vocab_size` on and ids whose logit is -inf are never drawn. Raises ValueError if the logits are not one
    row of at most MAX_VOCAB floats, hold NaN or +inf, or have no finite value.
    """
    if logits.ndim != 1 or not np.issubdtype(logits.dtype, np.floating):
        raise ValueError(f"logits must be one row of floats, not {logits.dtype}{list(logits.shape)}")
    logits = logits[:vocab_size]
    if not 1 <= logits.size <= MAX_VOCAB:
        raise ValueError(f"a row must have from 1 to {MAX_VOCAB} logits, not {logits.size}")
    top = int(logits.argmax())  # the first of equals; a NaN if there is one
    peak = float(logits[top])
    if not math.isfinite(peak):
        raise ValueError("the logits hold NaN or +inf, or nothing finite: check the model's output")
    if sampling.temperature == 0:
        return top
    key = position_key(sampling.seed, position)
    lead = float(gumbel(noise_hash(key, np.array([top])))[0])
    lowest = floor(peak, lead, sampling.temperature, logits.size, float(np.finfo(logits.dtype).eps))
    ids = np.union1d(np.flatnonzero(logits >= lowest), loud_ids(key, logits.size))
    cut, last = _cut(logits, peak, sampling)
    values = logits[ids]
    ids = ids[(values > cut) | ((values == cut) & (ids <= last))]
    scores = _scaled(logits[ids], peak, sampling.temperature) + gumbel(noise_hash(key, ids))
    return int(ids[scores.argmax()])  # the first of equals: the smallest id


def surviving(logits: NDArray[np.floating[Any]], sampling: Sampling) -> NDArray[np.floating[Any]]:
    """Return a row that `draw` takes, with -inf in the place of what top-k and top-p do not leave; T > 0."""
    cut, last = _cut(logits, float(logits.max()), sampling)
    if cut == -math.inf:
        return logits
    left = np.full_like(logits, -np.inf)
    ids = np.flatnonzero(logits >= cut)
    ids = ids[(logits[ids] > cut) | (ids <= last)]
    left[ids] = logits[ids]
    return left


def floor(peak: float, lead: float, temperature: float, vocab: int, eps: float) -> float:
    """Return a logit under which no id but a loud one can win: its noise does not bring it past the top id's score.

    `peak` and `lead` are the top id's logit and noise, `eps` the resolution of the logits' type: the floor lies lower
    by more than a rounding, so that comparing in that type drops nothing too much.
    """
    exact = peak - temperature * ((QUIET_NOISE if vocab >= LARGE_VOCAB else MAX_NOISE) - lead)
    return exact - 2 * eps * (abs(peak) + abs(exact))


def _cut(logits: NDArray[np.floating[Any]], peak: float, sampling: Sampling) -> tuple[float, int]:
    """Return what top-k and top-p leave: the ids above the cut, and those at the cut up to and including id `last`."""
    size = logits.size
    if not 0 < sampling.top_k < size and sampling.top_p == 1:
        return -math.inf, size
    total = 0 if sampling.top_k else int(_weights(logits, peak, sampling.temperature).sum())
    width = min(sampling.top_k or 256, size)
    while True:
        largest = np.sort(np.partition(logits, size - width)[size - width :])[::-1]
        weights = _weights(largest, peak, sampling.temperature)
        # An id stays while those before it hold less than the share; with top_p = 1 all of the top k stay.
        share = sampling.top_p * (total or int(weights.sum())) if sampling.top_p < 1 else math.inf
        keep = int(np.count_nonzero(np.cumsum(weights) - weights < share))
        if keep < width or sampling.top_k or width == size:
            break
        width = min(8 * width, size)
    cut = largest[keep - 1]
    ties = np.flatnonzero(logits == cut)
    return float(cut), int(ties[keep - 1 - np.count_nonzero(logits > cut)])


def _weights(logits: NDArray[np.floating[Any]], peak: float, temperature: float) -> NDArray[np.int64]:
    """Return each token's probability relative to the likeliest one's, as a whole number of 1 / WEIGHT_ONE, rounded down."""
    return (np.exp(_scaled(logits, peak, temperature)) * WEIGHT_ONE).astype(np.int64)


def _scaled(logits: NDArray[np.floating[Any]], peak: float, temperature: float) -> Reals:
    """Return (logits - peak) / temperature in float64: at most 0, so a tiny temperature ends in -inf and never in +inf."""
    with np.errstate(over="ignore"):
        return (logits.astype(np.float64) - peak) / temperature


def _mix(x: Hashes) -> Hashes:
    x = (x ^ (x >> np.uint32(16))) * np.uint32(MIX_1)
    x = (x ^ (x >> np.uint32(15))) * np.uint32(MIX_2)
    return x ^ (x >> np.uint32(15))


def _unmix(x: Hashes) -> Hashes:
    """Return the word that _mix takes to `x`."""
    x = (x ^ (x >> np.uint32(15)) ^ (x >> np.uint32(30))) * np.uint32(UNMIX_2)
    x = (x ^ (x >> np.uint32(15)) ^ (x >> np.uint32(30))) * np.uint32(UNMIX_1)
    return x ^ (x >> np.uint32(16))


_UNMIXED_LOUD = _unmix(np.arange(LOUD, dtype=np.uint32))
