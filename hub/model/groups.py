"""Attention by torch's own: rows of similar shape together, their K/V copied out of the pages. Runs on every device."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from hub.kv.kv_cache import KVCache
from hub.kv.pages import PAGE_SIZE
from hub.model.attention import Look, Span, slots_written


@dataclass(frozen=True)
class Padding:
    """What decides a query's bits is padded: queries of a K/V head to a multiple of `queries`, and pages of a row to one of `pages`.

    Rows of up to `free` pages stay as they are.
    """

    queries: int = 1
    pages: int = 1
    free: int = 0


@dataclass(frozen=True)
class Group:
    """Rows of similar shape, padded to the largest: `queries` each, over positions of as many pages.

    Padding repeats a row's last query, and its last page behind the mask, so nothing has to be taken out again.
    """

    rows: int
    queries: int
    tokens: torch.Tensor  # [rows * queries]: places in the flat sequence
    pages: torch.Tensor  # [rows * pages]
    last: torch.Tensor  # [rows, queries]: the position up to which a query sees
    heads: int  # query heads of a K/V head
    masks: dict[int | None, torch.Tensor] = field(default_factory=dict)  # by window, as they are asked for

    def mask(self, window: int | None, dtype: torch.dtype) -> torch.Tensor:
        """[rows, 1, queries per K/V head, positions], 0 where attended and -inf elsewhere."""
        if window not in self.masks:
            position = torch.arange(len(self.pages) // self.rows * PAGE_SIZE, device=self.last.device)
            last = self.last[:, :, None]
            seen = position <= last
            if window is not None:
                seen &= position > last - window
            mask = torch.zeros(seen.shape, dtype=dtype, device=seen.device).masked_fill_(~seen, float("-inf"))
            # Query heads of one K/V head lie one behind the other: [head, query].
            self.masks[window] = mask.repeat(1, self.heads, 1)[:, None]
        return self.masks[window]


@dataclass(frozen=True)
class GroupPlan:
    """An `AttentionPlan` of groups."""

    written: torch.Tensor
    groups: tuple[Group, ...]

    def attend(self, cache: KVCache, layer: int, query: torch.Tensor, look: Look) -> torch.Tensor:
        """See `AttentionPlan`."""
        heads, tokens, head_dim = query.shape
        output = query.new_empty(tokens, heads, head_dim)
        for group in self.groups:
            keys, values = cache.read(layer, group.pages, group.rows)
            kv_heads = keys.shape[1]
            # As many queries per K/V head as it serves query heads: K and V need not be repeated for each of these.
            shape = (kv_heads, heads // kv_heads, group.rows, group.queries, head_dim)
            queries = query.index_select(1, group.tokens).view(shape).permute(2, 0, 1, 3, 4)
            queries = queries.reshape(group.rows, kv_heads, -1, head_dim)
            attended = _attended(queries, keys, values, group.mask(look.window, cache.dtype), look)
            rows = attended.view(group.rows, heads, group.queries, head_dim).transpose(1, 2)
            output.index_copy_(0, group.tokens, rows.reshape(-1, heads, head_dim))
        return output


def _attended(
    queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, mask: torch.Tensor, look: Look
) -> torch.Tensor:
    """Of [rows, kv_heads, queries, head_dim] over [rows, kv_heads, positions, head_dim]."""
    if look.softcap is None:
        return torch.nn.functional.scaled_dot_product_attention(
            queries, keys, values, attn_mask=mask, scale=look.scaling
        )
    scores = torch.tanh(queries @ keys.transpose(2, 3) * (look.scaling / look.softcap)) * look.softcap + mask
    return torch.softmax(scores, -1, torch.float32).to(values.dtype) @ values


def group_plan(cache: KVCache, spans: Sequence[Span], queries_per_head: int, padding: Padding) -> GroupPlan:
    """A plan for rows, of which each K/V head serves `queries_per_head` query heads."""
    alike: dict[tuple[int, int], list[Span]] = {}
    for span in spans:
        # Rows are padded to less than twice their size each way.
        shape = (span.queries - 1).bit_length(), (len(span.pages) - 1).bit_length()
        alike.setdefault(shape, []).append(span)
    written = torch.tensor(slots_written(spans), device=cache.device)
    return GroupPlan(written, tuple(_group(cache, members, queries_per_head, padding) for members in alike.values()))


def _group(cache: KVCache, spans: Sequence[Span], queries_per_head: int, padding: Padding) -> Group:
    queries = _multiple(
        max(span.queries for span in spans), padding.queries // math.gcd(padding.queries, queries_per_head)
    )
    pages = max(len(span.pages) for span in spans)
    if pages > padding.free:
        pages = _multiple(pages, padding.pages)
    places = [[min(place, span.queries - 1) for place in range(queries)] for span in spans]
    tokens = [span.first + place for span, row in zip(spans, places, strict=True) for place in row]
    held = [page for span in spans for page in (*span.pages, *[span.pages[-1]] * (pages - len(span.pages)))]
    device = cache.device
    last = torch.tensor([[span.start + place for place in row] for span, row in zip(spans, places, strict=True)])
    return Group(
        len(spans),
        queries,
        torch.tensor(tokens, device=device),
        torch.tensor(held, device=device),
        last.to(device),
        queries_per_head,
    )


def _multiple(count: int, of: int) -> int:
    return -(-count // of) * of
