"""The Triton kernel behind `hub.model.tiles`: attention of a tile of queries over its row's pages, with a running softmax.

What it computes for a query depends on that query and its row's K/V alone, never on the rest of the batch.
"""

from __future__ import annotations

import math

import torch
import triton
import triton.language as tl

from hub.model.attention import Look

_POSITIONS = 64  # positions read at a time
_LOG2_E = tl.constexpr(math.log2(math.e))


def attend(
    query: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
    tiles: torch.Tensor,
    pages: torch.Tensor,
    look: Look,
    tile_queries: int,
) -> torch.Tensor:
    """Of each query [tokens, heads, head_dim] over K/V [pages, page size, kv_heads, head_dim], [tokens, heads, head_dim].

    `tiles` and `pages` are those of a `TilePlan`; queries in no tile get whatever was in memory.
    """
    tokens, heads, head_dim = query.shape
    kv_heads = keys.shape[2]
    output = query.new_empty(tokens, heads, head_dim)
    _attend_tile[(len(tiles), kv_heads)](
        query,
        keys,
        values,
        output,
        tiles,
        pages,
        look.scaling if look.softcap else look.scaling * math.log2(math.e),
        query.stride(0),
        query.stride(1),
        GROUP=heads // kv_heads,
        MEMBERS=max(16, triton.next_power_of_2(tile_queries * (heads // kv_heads))),
        KV_HEADS=kv_heads,
        HEAD_DIM=head_dim,
        WIDTH=triton.next_power_of_2(head_dim),
        PAGE=keys.shape[1],
        POSITIONS=_POSITIONS,
        WINDOW=look.window or 0,
        SOFTCAP=look.softcap or 0.0,
    )
    return output


@triton.jit
def _attend_tile(
    query,  # [tokens, heads, head_dim], strides given
    keys,  # [slots, KV_HEADS, HEAD_DIM]
    values,
    output,  # [tokens, heads, HEAD_DIM]
    tiles,
    pages,
    scale,
    token_stride,
    head_stride,
    GROUP: tl.constexpr,  # query heads of one K/V head
    MEMBERS: tl.constexpr,  # query and head pairs of a tile, some of them unused
    KV_HEADS: tl.constexpr,
    HEAD_DIM: tl.constexpr,
    WIDTH: tl.constexpr,
    PAGE: tl.constexpr,
    POSITIONS: tl.constexpr,
    WINDOW: tl.constexpr,  # 0 for none
    SOFTCAP: tl.constexpr,  # 0 for none
):
    tile = tiles + 4 * tl.program_id(0)
    kv_head = tl.program_id(1)
    first, count = tl.load(tile), tl.load(tile + 1)
    start, table = tl.load(tile + 2), tl.load(tile + 3)
    if count == 0:
        return
    member = tl.arange(0, MEMBERS)
    place, head = member // GROUP, kv_head * GROUP + member % GROUP
    width = tl.arange(0, WIDTH)
    used = (place < count)[:, None] & (width < HEAD_DIM)[None, :]
    token = (first + place).to(tl.int64)[:, None]
    asked = tl.load(query + token * token_stride + head[:, None] * head_stride + width[None, :], mask=used, other=0.0)
    top = tl.full([MEMBERS], float("-inf"), tl.float32)
    total = tl.zeros([MEMBERS], tl.float32)
    mixed = tl.zeros([MEMBERS, WIDTH], tl.float32)
    end = start + count
    first_seen = 0
    if WINDOW > 0:
        first_seen = tl.maximum(start - WINDOW + 1, 0) // POSITIONS * POSITIONS
    for begin in range(first_seen, end, POSITIONS):
        position = begin + tl.arange(0, POSITIONS)
        exists = position < end
        page = tl.load(pages + table + position // PAGE, mask=exists, other=0).to(tl.int64)
        slot = (page * PAGE + position % PAGE) * KV_HEADS + kv_head
        place_in_cache = slot[:, None] * HEAD_DIM + width[None, :]
        there = exists[:, None] & (width < HEAD_DIM)[None, :]
        key = tl.load(keys + place_in_cache, mask=there, other=0.0)
        score = tl.dot(asked, tl.trans(key), input_precision="ieee") * scale
        if SOFTCAP > 0:
            score = SOFTCAP * (2 * tl.sigmoid(2 * score / SOFTCAP) - 1) * _LOG2_E
        seen = position[None, :] <= (start + place)[:, None]
        if WINDOW > 0:
            seen = seen & (position[None, :] > (start + place - WINDOW)[:, None])
        score = tl.where(seen, score, float("-inf"))
        higher = tl.maximum(top, tl.max(score, 1))
        # A query of the tile may see nothing yet: its window begins behind these positions.
        shift = tl.where(higher == float("-inf"), 0.0, higher)
        weight = tl.exp2(score - shift[:, None])
        fade = tl.exp2(top - shift)
        total = total * fade + tl.sum(weight, 1)
        value = tl.load(values + place_in_cache, mask=there, other=0.0)
        mixed = mixed * fade[:, None] + tl.dot(weight.to(value.dtype), value, input_precision="ieee")
        top = higher
    answer = (mixed / total[:, None]).to(output.dtype.element_ty)
    tl.store(output + (token * (KV_HEADS * GROUP) + head[:, None]) * HEAD_DIM + width[None, :], answer, mask=used)
