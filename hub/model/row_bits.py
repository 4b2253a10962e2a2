"""How attention has to be padded on this machine for a query to get the same bits whatever is computed beside it.

torch's attention multiplies by libraries that choose the order of their sums by the sizes of the matrices. Measured on a CPU with
AVX-512: the bits of a query move with the number of keys in float32 and float16, unless that is padded to a multiple of 256,
and with the number of queries for heads of 128. No library promises any of it, so what is enough here is found by trying.
"""

from __future__ import annotations

import torch

from hub.kv.kv_cache import KVCache
from hub.kv.pages import PAGE_SIZE, pages_for
from hub.model.attention import spans_of
from hub.model.groups import Padding, group_plan

_PADDINGS = (
    Padding(),
    Padding(8),
    Padding(pages=16),
    Padding(8, 16),
    Padding(16, 16),
    Padding(16, 32),
)  # by their cost
_POSITIONS = (15, 300, 1100)
_BLOCKS = (2, 3, 8, 9, 17)  # ids of a row that end with the position
_BEHIND = (0, 37, 300)  # ids behind it in the same row
_BESIDE = (0, 1, 3)  # other rows of the same shape


@torch.inference_mode()
def attention_padding(heads: int, kv_heads: int, head_dim: int, dtype: torch.dtype, context: int) -> Padding | None:
    """The cheapest padding that makes a query's bits its own on a CPU, as far as trying shows; None when none of them does.

    `context` is the longest row in ids.
    """
    return next((p for p in _PADDINGS if _is_enough(p, heads, kv_heads, head_dim, dtype, context)), None)


def _is_enough(padding: Padding, heads: int, kv_heads: int, head_dim: int, dtype: torch.dtype, context: int) -> bool:
    longest = min(context, _POSITIONS[-1] + max(_BEHIND) + 1)
    device, generator = torch.device("cpu"), torch.Generator().manual_seed(0)
    held = pages_for(longest)
    cache = KVCache(1, held, kv_heads, head_dim, dtype, device)
    for tensor in (cache.keys[0], cache.values[0]):
        tensor.copy_(torch.randn(tensor.shape, generator=generator))
    every = torch.randn((heads, held * PAGE_SIZE, head_dim), generator=generator).to(dtype)

    def attended(position: int, block: int, behind: int, beside: int) -> torch.Tensor:
        """What the query at `position` gets, [heads, head_dim]."""
        start, end = position + 1 - block, position + 1 + behind
        spans = spans_of([(start, end - start, range(pages_for(end)))] * (1 + beside))
        plan = group_plan(cache, spans, heads // kv_heads, padding)
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
