"""What makes a row's bits its own on a CPU, whatever rows are beside it and however its ids are fed: found by trying.

Libraries choose the order of their sums by the sizes of the matrices and the number of threads, and none of them promises
anything. Measured on CPUs with AVX-512, 1 to 4 threads: oneDNN gives a row of a packed product the same bits beside any others,
if it is not alone; MKL does in its strict mode; torch's attention does where a K/V head has an even number of queries, and texts
longer than 256 positions are padded to multiples of that. With AVX2 alone it is texts longer than 192, and multiples of 512.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence

import torch

from hub.kv.kv_cache import KVCache
from hub.kv.pages import pages_for
from hub.model.attention import Look, spans_of
from hub.model.groups import Padding, group_plan
from hub.model.linear import CpuLinear, Tiles

_TILES = (Tiles(), Tiles(2), Tiles(16, cut=True), Tiles(32, cut=True))  # by their cost
_SLOW_TILES = (Tiles(4, cut=True), Tiles(1, cut=True))
_ROWS = (1, 2, 3, 5, 8, 9, 16, 17, 24, 31, 33, 64, 65, 130)
_MANY = 2**24  # weights from which more than _FEW rows would take long
_FEW = 33

# By their cost. A tile of an odd number of queries moves one in some thousands, so that trying might miss it: it is even always.
_PADDINGS = (
    Padding(2, 16, 16),
    Padding(2, 32, 12),
    Padding(8, 16, 16),
    Padding(8, 32, 12),
    Padding(16, 32, 8),
    Padding(32, 32),
)
_TEXTS = 8
_LONGEST = 1024  # ids of a text that is tried
_LENGTHS = (40, 200, 320, 560, _LONGEST)  # of the longest row of a batch
_BATCHES = 40


@torch.inference_mode()
def settle_tiles(layers: Iterable[CpuLinear], *, slow: bool) -> bool:
    """Set the cheapest tiles of each layer that make a row's bits its own, as far as trying shows; False where none does.

    `slow` allows tiles of so few rows that a long prompt takes several times as long.
    """
    choices = _TILES + _SLOW_TILES if slow else _TILES
    found: dict[tuple[int, int, bool], Tiles | None] = {}
    for layer in layers:
        kind = layer.out_features, layer.in_features, layer.bias is not None
        if kind not in found:
            found[kind] = next((tiles for tiles in choices if _are_enough(tiles, layer)), None)
        layer.tiles = found[kind] or Tiles()
    return None not in found.values()


def _are_enough(tiles: Tiles, layer: CpuLinear) -> bool:
    counts = [count for count in _ROWS if count <= _FEW or layer.in_features * layer.out_features < _MANY]
    rows = torch.randn((counts[-1], layer.in_features), generator=torch.Generator().manual_seed(0)).to(layer.dtype)
    layer.tiles = tiles
    whole = layer(rows)
    # The first rows and the last ones in turn: a row then has another place too.
    parts = (slice(0, count) if number % 2 else slice(len(rows) - count, None) for number, count in enumerate(counts))
    return all(torch.equal(layer(rows[part]), whole[part]) for part in parts)


@torch.inference_mode()
def attention_padding(heads: int, kv_heads: int, head_dim: int, dtype: torch.dtype, context: int) -> Padding | None:
    """The cheapest padding that makes a query's bits its own, as far as trying shows; None when none of them does.

    `context` is the longest row in ids.
    """
    tried = {dtype, torch.float32}  # rounding to 16 bits hides most of what moves
    for padding in _PADDINGS:
        if all(_is_enough(padding, heads // kv_heads, head_dim, each, context) for each in tried):
            return padding
    return None


def _is_enough(padding: Padding, share: int, head_dim: int, dtype: torch.dtype, context: int) -> bool:
    """Whether that padding does for K/V heads that serve `share` query heads each: one is tried, as all are computed alike."""
    longest = min(context, _LONGEST)
    generator, rng = torch.Generator().manual_seed(0), random.Random(0)
    held = pages_for(longest)
    cache = KVCache(1, _TEXTS * held, 1, head_dim, dtype, torch.device("cpu"))
    for tensor in (cache.keys[0], cache.values[0]):
        tensor.copy_(torch.randn(tensor.shape, generator=generator))
    queries = torch.randn((_TEXTS, share, longest, head_dim), generator=generator).to(dtype)

    def attended(rows: Sequence[tuple[int, int, int]]) -> list[torch.Tensor]:
        """Of each (text, start, end) what its queries get, [end - start, share, head_dim]."""
        spans = spans_of((at, end - at, range(text * held, text * held + pages_for(end))) for text, at, end in rows)
        query = torch.cat([queries[text, :, at:end] for text, at, end in rows], 1)
        outcome: torch.Tensor = group_plan(cache, spans, share, padding).attend(cache, 0, query, Look(head_dim**-0.5))
        return list(outcome.split([end - at for _, at, end in rows]))

    alone = [attended([(text, 0, longest)])[0] for text in range(_TEXTS)]
    for batch in range(_BATCHES):
        most = min(longest, _LENGTHS[batch % len(_LENGTHS)])
        rows = []
        for text in rng.sample(range(_TEXTS), rng.choice((1, 2, 4, _TEXTS))):
            end = rng.randint(1, most)
            rows.append((text, end - min(end, rng.choice((1, 1, 2, 5, 13, rng.randint(1, 40)))), end))
        got = attended(rows)
        if not all(torch.equal(ours, alone[text][at:end]) for ours, (text, at, end) in zip(got, rows, strict=True)):
            return False
    return True
