"""Attention over paged K/V for a flat ragged batch, as an attention function of `transformers`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import AttentionInterface

from hub.kv_cache import KVCache
from hub.pages import PAGE_SIZE, slot_of

NAME = "sled_paged"


@dataclass(frozen=True)
class Span:
    """A row's part of the flat sequence, [first, first + queries), at positions from `start` on, and its pages in order."""

    first: int
    queries: int
    start: int
    pages: Sequence[int]


@dataclass(frozen=True)
class Group:
    """Rows of similar shape, padded to the largest: `queries` each, over positions of as many pages.

    Padding repeats a row's last query, and its last page behind the mask, so nothing has to be taken out again.
    """

    rows: int
    queries: int
    tokens: torch.Tensor  # [rows * queries]: places in the flat sequence
    pages: torch.Tensor  # [rows * pages]
    mask: torch.Tensor  # [rows, 1, queries per K/V head, positions], 0 where attended and -inf elsewhere


@dataclass(frozen=True)
class AttentionPlan:
    """All that the attention function needs beside q, k and v."""

    cache: KVCache
    written: torch.Tensor  # [tokens]: the slot of each token of the flat sequence
    groups: tuple[Group, ...]


def attention_plan(cache: KVCache, spans: Sequence[Span], queries_per_head: int) -> AttentionPlan:
    """A plan for rows, of which each K/V head serves `queries_per_head` query heads."""
    alike: dict[tuple[int, int], list[Span]] = {}
    for span in spans:
        # Rows are padded to less than twice their size each way.
        shape = (span.queries - 1).bit_length(), (len(span.pages) - 1).bit_length()
        alike.setdefault(shape, []).append(span)
    written = [slot_of(span.pages, span.start + place) for span in spans for place in range(span.queries)]
    groups = tuple(_group(cache, members, queries_per_head) for members in alike.values())
    return AttentionPlan(cache, torch.tensor(written, device=cache.device), groups)


def _group(cache: KVCache, spans: Sequence[Span], queries_per_head: int) -> Group:
    queries = max(span.queries for span in spans)
    pages = max(len(span.pages) for span in spans)
    places = [[min(place, span.queries - 1) for place in range(queries)] for span in spans]
    tokens = [span.first + place for span, row in zip(spans, places, strict=True) for place in row]
    held = [page for span in spans for page in (*span.pages, *[span.pages[-1]] * (pages - len(span.pages)))]
    device = cache.device
    # The query at position p sees [0, p]. Query heads of one K/V head lie one behind the other: [head, query].
    last = torch.tensor([[span.start + place for place in row] for span, row in zip(spans, places, strict=True)])
    seen = torch.arange(pages * PAGE_SIZE, device=device) <= last.to(device)[:, :, None]
    mask = torch.zeros(seen.shape, dtype=cache.dtype, device=device).masked_fill_(~seen, float("-inf"))
    return Group(
        len(spans),
        queries,
        torch.tensor(tokens, device=device),
        torch.tensor(held, device=device),
        mask.repeat(1, queries_per_head, 1)[:, None],
    )


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
    """Write K/V of the new tokens to their slots and attend, a group of rows at a time.

    `query` is [1, heads, tokens, head_dim], `key` and `value` [1, kv_heads, tokens, head_dim]; the result is
    [1, tokens, heads, head_dim]. The mask of `transformers` is not used: `plan` says what each row sees.
    """
    plan.cache.write(module.layer_idx, plan.written, key[0].transpose(0, 1), value[0].transpose(0, 1))
    heads, tokens, head_dim = query.shape[1:]
    kv_heads = key.shape[1]
    output = query.new_empty(tokens, heads, head_dim)
    for group in plan.groups:
        keys, values = plan.cache.read(module.layer_idx, group.pages, group.rows)
        # As many queries per K/V head as it serves query heads: K and V need not be repeated for each of these.
        shape = (kv_heads, heads // kv_heads, group.rows, group.queries, head_dim)
        queries = query[0].index_select(1, group.tokens).view(shape).permute(2, 0, 1, 3, 4)
        attended = torch.nn.functional.scaled_dot_product_attention(
            queries.reshape(group.rows, kv_heads, -1, head_dim), keys, values, attn_mask=group.mask, scale=scaling
        )
        rows = attended.view(group.rows, heads, group.queries, head_dim).transpose(1, 2)
        output.index_copy_(0, group.tokens, rows.reshape(-1, heads, head_dim))
    return output[None], None


AttentionInterface.register(NAME, paged_attention)


def spans_of(rows: Iterable[tuple[int, int, Sequence[int]]]) -> list[Span]:
    """Spans one behind the other, of rows given as (start, number of ids, pages)."""
    spans: list[Span] = []
    first = 0
    for start, queries, pages in rows:
        spans.append(Span(first, queries, start, pages))
        first += queries
    return spans
