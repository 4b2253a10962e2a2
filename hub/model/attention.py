"""Attention over paged K/V for a flat ragged batch, as an attention function of `transformers`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from transformers import AttentionInterface

from hub.kv.kv_cache import KVCache
from hub.kv.pages import slot_of
from shared.errors import PairError

NAME = "sled_paged"
# What `transformers` tells every attention function, and what attention to pages has no use for.
_OF_NO_CONCERN = frozenset(
    {
        "cache_position",
        "dropout",
        "is_causal",
        "logits_to_keep",
        "output_attentions",
        "output_hidden_states",
        "output_router_logits",
        "position_ids",
        "use_cache",
    }
)


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
    **more: Any,
) -> tuple[torch.Tensor, None]:
    """Write K/V of the new tokens to their slots and attend.

    `query` is [1, heads, tokens, head_dim], `key` and `value` [1, kv_heads, tokens, head_dim]; the result is
    [1, tokens, heads, head_dim]. `transformers` makes no mask for it: `plan` says what each row sees.

    Raises PairError for an architecture whose attention is more than that: it has a mask of its own, a cap on scores, sinks …
    """
    unknown = ["a mask of its own"] if attention_mask is not None else []
    unknown += [name for name, value in more.items() if value is not None and name not in _OF_NO_CONCERN]
    if unknown:
        raise PairError(
            f"the target's attention needs what this hub does not compute ({', '.join(unknown)}); choose another target"
        )
    paged_cache.write(module.layer_idx, plan.written, key[0].transpose(0, 1), value[0].transpose(0, 1))
    scaling = query.shape[-1] ** -0.5 if scaling is None else scaling
    return plan.attend(paged_cache, module.layer_idx, query[0], scaling)[None], None


AttentionInterface.register(NAME, paged_attention)
