"""Attention over paged K/V for a flat ragged batch, as an attention function of `transformers`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
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


@dataclass(frozen=True)
class Look:
    """How a layer's queries look at keys."""

    scaling: float
    window: int | None = None  # positions that a query sees, itself among them; None: all before it
    softcap: float | None = None  # scores s become softcap · tanh(s / softcap); None: they stay


class AttentionPlan(Protocol):
    """What attention over one batch needs beside q, k and v: made once, used by every layer."""

    @property
    def written(self) -> torch.Tensor:
        """[tokens]: the slot of each token of the flat sequence."""

    def attend(self, cache: KVCache, layer: int, query: torch.Tensor, look: Look) -> torch.Tensor:
        """Of each query [heads, tokens, head_dim] over its row's K/V up to itself, [tokens, heads, head_dim]."""


@dataclass(frozen=True)
class _Work:
    """What the layers of the forward under way attend to; `windows` as `windows_of` gives them."""

    cache: KVCache
    plan: AttentionPlan
    windows: Sequence[int | None]


_work: ContextVar[_Work] = ContextVar("work")


@contextmanager
def attending(cache: KVCache, plan: AttentionPlan, windows: Sequence[int | None]) -> Iterator[None]:
    """Let `paged_attention` attend over the rows of `plan`; not all architectures would hand it on from forward to layer."""
    token = _work.set(_Work(cache, plan, windows))
    try:
        yield
    finally:
        _work.reset(token)


def beyond_softmax(
    mask: torch.Tensor | None, window: int | None, more: Mapping[str, Any], layer: int, windows: Sequence[int | None]
) -> list[str]:
    """What a layer's attention asks for that is neither softmax over all or a window of `windows`, nor of no concern, in words."""
    unknown = ["a mask of its own"] if mask is not None else []
    unknown += [name for name, value in more.items() if value is not None and name not in _OF_NO_CONCERN]
    if (window or None) != windows[layer]:
        unknown += [f"a window of {windows[layer]} in layer {layer} that is given as {window}"]
    return unknown


def paged_attention(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    **more: Any,
) -> tuple[torch.Tensor, None]:
    """Write K/V of the new tokens to their slots and attend, inside `attending`.

    `query` is [1, heads, tokens, head_dim], `key` and `value` [1, kv_heads, tokens, head_dim]; the result is
    [1, tokens, heads, head_dim]. `transformers` makes no mask for it: the plan says what each row sees.

    Raises PairError for an architecture whose attention is more than that: it has a mask of its own, sinks, a window that its
    configuration does not speak of …
    """
    work, layer = _work.get(), module.layer_idx
    unknown = beyond_softmax(attention_mask, sliding_window, more, layer, work.windows)
    if value.shape[-1] != key.shape[-1]:
        unknown += ["values that are not of the size of keys"]
    if unknown:
        raise PairError(
            f"the target's attention needs what this hub does not compute ({', '.join(unknown)}); choose another target"
        )
    work.cache.write(layer, work.plan.written, key[0].transpose(0, 1), value[0].transpose(0, 1))
    look = Look(query.shape[-1] ** -0.5 if scaling is None else scaling, work.windows[layer], softcap)
    return work.plan.attend(work.cache, layer, query[0], look)[None], None


AttentionInterface.register(NAME, paged_attention)
