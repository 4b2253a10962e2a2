"""What a GPU gets, without one: tiles that cover each batch, frames of fixed size, and the kernel in Triton's interpreter."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch

from hub.kv.kv_cache import KVCache
from hub.kv.pages import PAGE_SIZE, PagePool, pages_for, slot_of
from hub.model.attention import Look, Span, spans_of
from hub.model.batch import Inputs, Row
from hub.model.device import pick_device
from hub.model.graphs import BUCKETS, Frame
from hub.model.groups import Padding, group_plan
from hub.model.target import Target
from hub.model.tiles import COUNT, FIRST, START, TABLE, TILE_QUERIES, TilePlan, tile_plan
from tests import models

CPU = torch.device("cpu")
PAGES = 40


def attend_plainly(
    query: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
    tiles: torch.Tensor,
    pages: torch.Tensor,
    look: Look,
    tile_queries: int,
) -> torch.Tensor:
    """What the kernel is to compute, a query at a time; queries in no tile get NaN."""
    output = torch.full(query.shape, float("nan"), dtype=query.dtype)
    group = query.shape[1] // keys.shape[2]
    for tile in tiles.tolist():
        assert tile[COUNT] <= tile_queries
        for place in range(tile[COUNT]):
            end = tile[START] + place + 1
            slots = [slot_of(pages[tile[TABLE] :].tolist(), position) for position in range(end)]
            k, v = (cached.flatten(0, 1)[slots].repeat_interleave(group, 1).float() for cached in (keys, values))
            q = query[tile[FIRST] + place].float()
            weights = (torch.einsum("hd,shd->hs", q, k) * look.scaling).softmax(1)
            output[tile[FIRST] + place] = torch.einsum("hs,shd->hd", weights, v).to(query.dtype)
    return output


def ragged(rng: random.Random) -> list[Span]:
    """Rows as they come: steps, blocks and a part of a prompt, some of whose pages are the same."""
    pool = PagePool(PAGES)
    common = [pool.take(), pool.take()]
    rows = []
    for start, queries in ((0, 1), (37, 5), (rng.randrange(33, 60), TILE_QUERIES + 1), (32, 20), (15, 1), (16, 2)):
        pages = [*common]
        pool.grow(pages, start + queries)
        rows.append((start, queries, pages[: pages_for(start + queries)]))
    return spans_of(rows)


def filled_cache(dtype: torch.dtype, head_dim: int, device: torch.device = CPU) -> KVCache:
    cache = KVCache(1, PAGES, 2, head_dim, dtype, device)
    generator = torch.Generator().manual_seed(0)
    for tensor in (cache.keys[0], cache.values[0]):
        tensor.copy_(torch.randn(tensor.shape, generator=generator))
    return cache


def test_tiles_cover_every_query_once_with_the_pages_that_it_sees() -> None:
    spans = ragged(random.Random(1))
    plan = tile_plan(spans, CPU)
    queries = [
        (tile[FIRST] + place, tile[START] + place, tile[TABLE])
        for tile in plan.tiles.tolist()
        for place in range(tile[COUNT])
    ]
    assert [first for first, _, _ in queries] == list(range(sum(span.queries for span in spans)))
    positions = [span.start + place for span in spans for place in range(span.queries)]
    assert [position for _, position, _ in queries] == positions
    owners = [span for span in spans for _ in range(span.queries)]
    for (_, position, table), span in zip(queries, owners, strict=True):
        needed = pages_for(position + 1)
        assert plan.pages[table : table + needed].tolist() == list(span.pages[:needed])
    assert int(plan.tiles[:, COUNT].max()) <= TILE_QUERIES


def test_a_frame_is_the_batch_and_padding_that_does_nothing() -> None:
    cache = filled_cache(torch.float32, 8)
    first, second = tile_plan(ragged(random.Random(1)), CPU), tile_plan(spans_of([(20, 3, [4, 5])]), CPU)
    frame = Frame.empty(64, cache)
    query = torch.randn(4, 64, 8)
    for plan in (first, second):  # what the first leaves behind must not show in the second
        tokens = len(plan.written)
        numbers = torch.arange(tokens)
        batch = Inputs(numbers[None], numbers[None], numbers[-2:], plan)
        assert frame.holds(batch)
        frame.fill(batch)
        assert frame.inputs.ids[0, :tokens].tolist() == list(range(tokens))
        assert frame.inputs.wanted[:2].tolist() == [tokens - 2, tokens - 1]
        assert frame.plan.written[:tokens].equal(plan.written)
        assert set(frame.plan.written[tokens:].tolist()) == {PAGES * PAGE_SIZE}, "behind the pages of the sessions"
        wide, narrow = (
            attend_plainly(q, cache.keys[0], cache.values[0], p.tiles, p.pages, Look(1.0), TILE_QUERIES)
            for q, p in ((query.transpose(0, 1), frame.plan), (query[:, :tokens].transpose(0, 1), plan))
        )
        assert wide[:tokens].equal(narrow)
        assert wide[tokens:].isnan().all()
    assert not Frame.empty(2, cache).holds(Inputs(torch.zeros(1, 3), torch.zeros(1, 3), torch.zeros(1), second))


@pytest.fixture
def plain_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiles are attended to without Triton, which only computes on a GPU."""
    monkeypatch.setattr(TilePlan, "attend", lambda self, cache, layer, query, look: attend_plainly(
        query.transpose(0, 1), cache.keys[layer], cache.values[layer], self.tiles, self.pages, look, TILE_QUERIES
    ))  # fmt: skip


@pytest.mark.usefixtures("plain_kernel")
def test_a_target_computes_the_same_in_a_frame_of_tiles_as_in_groups(tmp_path: Path) -> None:
    target = Target(models.save(models.llama(), tmp_path), device=CPU, dtype=torch.float32, kv_memory=1 << 20)
    tables: list[list[int]] = [[] for _ in range(3)]
    rows = []
    for table, (held, fed) in zip(tables, ((0, 11), (19, 4), (16, 1)), strict=True):
        target.pool.grow(table, held + fed)
        if held:
            target.forward([Row(table, 0, tuple(range(5, 5 + held)), 1)])
        rows.append(Row(table, held, tuple(range(40, 40 + fed)), min(fed, 3)))
    expected = target.forward(rows)
    grouped = target.prepare(rows)
    tiles = tile_plan(spans_of((row.start, len(row.ids), row.pages) for row in rows), CPU)
    batch = Inputs(grouped.ids, grouped.positions, grouped.wanted, tiles)
    frame = Frame.empty(next(size for size in BUCKETS if size >= 16), target.cache)
    frame.fill(batch)
    with torch.inference_mode():
        torch.testing.assert_close(target.compute(batch), expected, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(target.compute(frame.inputs)[: len(expected)], expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    "look", [Look(0.2), Look(0.2, window=9), Look(0.2, window=40, softcap=1.5), Look(0.2, softcap=0.5)]
)
@pytest.mark.parametrize(("dtype", "head_dim", "heads"), [
    (torch.float32, 64, 8), (torch.float32, 80, 2), (torch.float32, 16, 6), (torch.float16, 64, 8),
])  # fmt: skip
def test_the_kernel_attends_as_torch_does(dtype: torch.dtype, head_dim: int, heads: int, look: Look) -> None:
    pytest.importorskip(
        "triton", reason="Triton comes with torch for CUDA; `pip install triton` runs this without a GPU"
    )
    cache = filled_cache(dtype, head_dim, pick_device("auto"))
    spans = ragged(random.Random(head_dim))
    query = torch.randn(heads, sum(span.queries for span in spans), head_dim).to(cache.device, dtype)
    answer = tile_plan(spans, cache.device).attend(cache, 0, query, look)
    expected = group_plan(cache, spans, heads // 2, Padding()).attend(cache, 0, query, look)
    tolerance = 2e-3 if dtype is torch.float16 else 1e-5
    torch.testing.assert_close(answer, expected, atol=tolerance, rtol=tolerance)
