"""Attention over paged K/V for a flat ragged batch, as an attention function of `transformers`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from transformers import AttentionInterface

from hub.kv.kv_cache import KVCache
from hub.kv.pages import slot_of

NAME = "sled_paged"


@dataclass(frozen=True)
class Span:
    """A row's part of the flat sequence, [first, first + queries), at positions from `start` on, and its pages in order."""

    first: int
    queries: int
    start: int
    pages: Sequence[int]


def spans_of(rows: Iterable[tuple[int, int, Sequence[int]]]) -> list[Span]:
    """Spans one behind the other, of rows given as (start, number of ids, pages)."""
    spans: list[Span] = []
    first = 0
    for start, queries, pages in rows:
        spans.append(Span(first, queries, start, pages))
        first += queries
    return spans


def slots_written(spans: Iterable[Span]) -> list[int]:
    """The slot of each token of the flat sequence."""
    return [slot_of(span.pages, span.start + place) for span in spans for place in range(span.queries)]


class AttentionPlan(Protocol):
    """What attention over one batch needs beside q, k and v: made once, used by every layer."""

    @property
    def written(self) -> torch.Tensor:
        """[tokens]: the slot of each token of the flat sequence."""

    def attend(self, cache: KVCache, layer: int, query: torch.Tensor, scaling: float) -> torch.Tensor:
        """Of each query [heads, tokens, head_dim] over its row's K/V up to itself, [tokens, heads, head_dim]."""


def paged_attention(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    *,
    paged_cache: KVCache,
    plan: AttentionPlan,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Write K/V of the new tokens to their slots and attend.

    `query` is [1, heads, tokens, head_dim], `key` and `value` [1, kv_heads, tokens, head_dim]; the result is
    [1, tokens, heads, head_dim]. The mask of `transformers` is not used: `plan` says what each row sees.
    """
    paged_cache.write(module.layer_idx, plan.written, key[0].transpose(0, 1), value[0].transpose(0, 1))
    scaling = query.shape[-1] ** -0.5 if scaling is None else scaling
    return plan.attend(paged_cache, module.layer_idx, query[0], scaling)[None], None


AttentionInterface.register(NAME, paged_attention)
