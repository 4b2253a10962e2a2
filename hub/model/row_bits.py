"""What makes a row's bits its own on a CPU, whatever rows are beside it and however its ids are fed: found by trying.

Libraries choose the order of their sums by the sizes of the matrices and the number of threads, and none of them promises
anything. Measured on CPUs with AVX-512, 1 to 4 threads: oneDNN gives a row of a packed product the same bits beside any others,
if it is not alone; MKL does in its strict mode; torch's attention does in bfloat16, and in float32 and float16 where texts longer
than 256 positions are padded to multiples of that. With AVX2 alone it is texts longer than 192 positions, and multiples of 384.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch

from hub.kv.kv_cache import KVCache
from hub.kv.pages import PAGE_SIZE, pages_for
from hub.model.attention import spans_of
from hub.model.groups import Padding, group_plan
from hub.model.linear import CpuLinear, Tiles

_TILES = (Tiles(), Tiles(2), Tiles(16, cut=True), Tiles(32, cut=True))  # by their cost
_SLOW_TILES = (Tiles(4, cut=True), Tiles(1, cut=True))
_ROWS = (1, 2, 3, 5, 8, 9, 16, 17, 24, 31, 33, 64, 65, 130)
_MANY = 2**24  # weights from which more than _FEW rows would take long
_FEW = 33

_PADDINGS = (
    Padding(),
    Padding(8),
    *(Padding(queries, pages, free) for pages, free in ((16, 16), (24, 12), (32, 12)) for queries in (1, 8)),
    Padding(16, 32, 8),
    Padding(32, 32),
)  # by their cost
_HEADS = 1  # K/V heads that are tried: all of them are computed alike
_POSITIONS = (3, 100, 140, 200, 250, 300, 1100)
_BLOCKS = (2, 3, 8, 9, 17)  # ids of a row that end with the position
_BEHIND = (0, 37, 300)  # ids behind it in the same row
_BESIDE = (0, 1, 3)  # other rows of the same shape


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
    share = heads // kv_heads
    return next((p for p in _PADDINGS if _is_enough(p, share, head_dim, dtype, context)), None)


def _is_enough(padding: Padding, share: int, head_dim: int, dtype: torch.dtype, context: int) -> bool:
    """Whether that padding does for K/V heads that serve `share` query heads each."""
    longest = min(context, _POSITIONS[-1] + max(_BEHIND) + 1)
    device, generator = torch.device("cpu"), torch.Generator().manual_seed(0)
    held = pages_for(longest)
    cache = KVCache(1, held, _HEADS, head_dim, dtype, device)
    for tensor in (cache.keys[0], cache.values[0]):
        tensor.copy_(torch.randn(tensor.shape, generator=generator))
    every = torch.randn((_HEADS * share, held * PAGE_SIZE, head_dim), generator=generator).to(dtype)

    def attended(position: int, block: int, behind: int, beside: int) -> torch.Tensor:
        """What the query at `position` gets, [heads, head_dim]."""
        start, end = position + 1 - block, position + 1 + behind
        spans = spans_of([(start, end - start, range(pages_for(end)))] * (1 + beside))
        plan = group_plan(cache, spans, share, padding)
        return plan.attend(cache, 0, every[:, start:end].repeat(1, 1 + beside, 1), head_dim**-0.5)[block - 1]

    for position in _POSITIONS:
        if position >= longest:
            break
        first = attended(position, 1, 0, 0)
        for number, block in enumerate(_BLOCKS):
            for behind in _BEHIND:
                if block <= position + 1 and position + 1 + behind <= longest:
                    beside = _BESIDE[number % len(_BESIDE)]
                    if not torch.equal(attended(position, block, behind, beside), first):
                        return False
    return True
