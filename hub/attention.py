"""Attention over paged K/V for a flat ragged batch, as an attention function of `transformers`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import AttentionInterface

from hub.kv_cache import KVCache

NAME = "sled_paged"


@dataclass(frozen=True)
class RowPlan:
    """Where one row's queries lie in the flat sequence, and which slots it attends to."""

    first: int  # queries are [first, last) of the flat sequence
    last: int
    slots: torch.Tensor  # [positions]: slots of the row's positions [0, end)
    mask: torch.Tensor | None  # [queries, positions], true where attended; None for a single query


@dataclass(frozen=True)
class AttentionPlan:
    """All that the attention function needs beside q, k and v."""

    cache: KVCache
    written: torch.Tensor  # [tokens]: the slot of each token of the flat sequence
    rows: tuple[RowPlan, ...]


def attention_plan(cache: KVCache, spans: Sequence[tuple[int, list[int]]], device: torch.device) -> AttentionPlan:
    """A plan for rows given as (start position, slots of all positions up to the row's end)."""
    rows: list[RowPlan] = []
    written: list[int] = []
    for start, slots in spans:
        queries, first = len(slots) - start, len(written)
        written.extend(slots[start:])
        mask = None
        if queries > 1:
            # Query i sits at position start + i and sees the positions up to its own.
            mask = torch.ones(queries, len(slots), dtype=torch.bool, device=device).tril(diagonal=start)
        rows.append(RowPlan(first, first + queries, torch.tensor(slots, device=device), mask))
    return AttentionPlan(cache, torch.tensor(written, device=device), tuple(rows))


def paged_attention(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    *,
    plan: AttentionPlan,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Write K/V of the new tokens to their slots and attend row by row.

    `query` is [1, heads, tokens, head_dim], `key` and `value` [1, kv_heads, tokens, head_dim]; the result is
    [1, tokens, heads, head_dim]. The mask of `transformers` is not used: `plan` says what each row sees.
    """
    layer = module.layer_idx
    keys, values = plan.cache.keys[layer], plan.cache.values[layer]
    keys.index_copy_(0, plan.written, key[0].transpose(0, 1))
    values.index_copy_(0, plan.written, value[0].transpose(0, 1))
    outputs = [
        torch.nn.functional.scaled_dot_product_attention(
            query[:, :, row.first : row.last],
            keys.index_select(0, row.slots).transpose(0, 1).unsqueeze(0),
            values.index_select(0, row.slots).transpose(0, 1).unsqueeze(0),
            attn_mask=row.mask,
            scale=scaling,
            enable_gqa=query.shape[1] != key.shape[1],
        )
        for row in plan.rows
    ]
    return torch.cat(outputs, dim=2).transpose(1, 2), None


AttentionInterface.register(NAME, paged_attention)
