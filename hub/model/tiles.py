"""Attention by a kernel of our own on a GPU, which reads K/V where they lie: the batch cut into tiles of a few queries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from hub.kv.kv_cache import KVCache
from hub.model.attention import Look, Span, slots_written

TILE_QUERIES = (
    8  # most queries of a tile, all of one row; a drafted block as a rule is one tile, and its K/V are read once
)
FIRST, COUNT, START, TABLE = range(4)  # columns of `TilePlan.tiles`


@dataclass(frozen=True)
class TilePlan:
    """An `AttentionPlan` of tiles: queries [FIRST, FIRST + COUNT) of the flat sequence, at positions from START on.

    Their row's pages are `pages[TABLE:]`, as many as the last of these positions needs. A tile of no queries is skipped.
    """

    written: torch.Tensor  # [tokens], int64
    tiles: torch.Tensor  # [tiles, 4], int32
    pages: torch.Tensor  # [all rows' pages], int32

    def attend(self, cache: KVCache, layer: int, query: torch.Tensor, look: Look) -> torch.Tensor:
        """See `AttentionPlan`."""
        from hub.model.tile_kernel import attend  # needs Triton, which comes with torch for CUDA

        return attend(
            query.transpose(0, 1), cache.keys[layer], cache.values[layer], self.tiles, self.pages, look, TILE_QUERIES
        )


def tile_plan(spans: Sequence[Span], device: torch.device) -> TilePlan:
    """A plan for rows."""
    tiles: list[tuple[int, int, int, int]] = []
    pages: list[int] = []
    for span in spans:
        for place in range(0, span.queries, TILE_QUERIES):
            count = min(TILE_QUERIES, span.queries - place)
            tiles.append((span.first + place, count, span.start + place, len(pages)))
        pages += span.pages
    return TilePlan(
        torch.tensor(slots_written(spans), device=device),
        torch.tensor(tiles, dtype=torch.int32, device=device),
        torch.tensor(pages, dtype=torch.int32, device=device),
    )
