"""The kernels of fixed order, on a GPU or in Triton's interpreter: a row's bits are its own.

In the interpreter they also come from the sums that are written down here. It multiplies tiles by a library whose order is not known, and
takes the bits of bfloat16 for whole numbers, so here tiles are multiplied by `chained`. A GPU has its own order inside a tile; what
is around it, the tiles, masks and steps, is the same there.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import pytest
import torch

from hub.kv.pages import PAGE_SIZE, pages_for
from hub.model.attention import Look, spans_of
from hub.model.device import pick_device
from hub.model.graphs import Frame
from hub.model.tiles import TILE_QUERIES, tile_plan
from tests.hub.test_tiles import filled_cache

pytest.importorskip("triton", reason="Triton comes with torch for CUDA; `pip install triton` runs this without a GPU")

from triton.runtime import interpreter

from hub.model import row_kernels, tile_kernel
from hub.model.row_kernels import TILES, Tile, product, row_sum

DEVICE = pick_device("auto")
on_a_cpu = pytest.mark.skipif(DEVICE.type != "cpu", reason="a GPU has an order of its own inside a tile")
DTYPES = [torch.float32, torch.bfloat16, torch.float16]
MOST, INNER, COLUMNS = 40, 100, 40
Product = Callable[[torch.Tensor, torch.Tensor, torch.Tensor | None], torch.Tensor]


def chained(left: Any, right: Any) -> Any:
    """left [rows, inner] by right [inner, columns]: fused multiplications and additions in float32, one after the other."""
    total = np.zeros((left.shape[0], right.shape[1]), np.float32)
    for place in range(left.shape[1]):
        # A product of two float32 is whole in float64.
        term = left[:, place : place + 1].astype(np.float64) * right[place].astype(np.float64)
        total = (total + term).astype(np.float32)
    return total


@pytest.fixture(autouse=True)
def _chained_dots(monkeypatch: pytest.MonkeyPatch) -> None:
    def dot(_: Any, left: Any, right: Any, total: Any, *more: Any) -> Any:
        return interpreter.TensorHandle(total.data + chained(_float32(left), _float32(right)), total.dtype.scalar)

    monkeypatch.setattr(interpreter.InterpreterBuilder, "create_dot", dot)


def _float32(tile: Any) -> Any:
    if tile.dtype.scalar is interpreter.tl.bfloat16:
        return (tile.data.astype(np.uint32) << 16).view(np.float32)
    return tile.data.astype(np.float32)


def matrices(dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Rows [1, MOST, INNER], weights [1, INNER, COLUMNS] as a linear layer has them, and a bias [COLUMNS].

    Their products are large and nearly cancel, so that the order of a sum shows in its first digit, whatever it is rounded to.
    """
    generator = torch.Generator().manual_seed(0)
    x, weight = (torch.randn(size, INNER // 2, generator=generator) for size in (MOST, COLUMNS))
    x, weight = torch.cat((1000 * x, -1000 * x), 1)[None], torch.cat((weight, weight), 1)
    bias = torch.randn(COLUMNS, generator=generator) / 1000
    x, weight, bias = (tensor.to(DEVICE, dtype) for tensor in (x, weight, bias))
    return x, weight.t()[None], bias


def moved(multiply: Product, dtype: torch.dtype, counts: Iterable[int]) -> set[int]:
    """Those numbers of rows with which a row gets other bits than beside all the others."""
    x, y, bias = matrices(dtype)
    whole = multiply(x, y, bias)
    places = [(rows, (MOST - rows) // (1 + rows % 2)) for rows in counts]  # the end, or the middle
    return {
        rows
        for rows, first in places
        if not torch.equal(multiply(x[:, first : first + rows], y, bias), whole[:, first : first + rows])
    }


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_product_gives_a_row_its_own_bits(dtype: torch.dtype) -> None:
    assert moved(product, dtype, range(1, MOST + 1)) == set()


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_kernel_whose_steps_follow_the_number_of_rows_is_found_out(
    dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    def adaptive(x: torch.Tensor, y: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        monkeypatch.setitem(TILES, dtype, Tile(32, 32, 16 if x.shape[1] < 8 else 128))
        return product(x, y, bias)

    assert moved(adaptive, dtype, (1, 3, 7, 8, 33)) == {1, 3, 7}


@on_a_cpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("rows", [1, 3, MOST])
def test_a_product_is_the_sum_of_its_steps_in_their_order(dtype: torch.dtype, rows: int) -> None:
    x, y, bias = matrices(dtype)
    left, right, step = x[0, :rows].float().numpy(), y[0].float().numpy(), TILES[dtype].inner
    total = np.zeros((rows, COLUMNS), np.float32)
    for begin in range(0, INNER, step):
        total += chained(left[:, begin : begin + step], right[begin : begin + step])
    expected = torch.from_numpy(total + bias.float().numpy()).to(dtype)
    assert torch.equal(product(x[:, :rows], y, bias)[0], expected)


@pytest.mark.parametrize("dtype", DTYPES)
def test_whole_numbers_are_multiplied_exactly(dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randint(-3, 4, s, generator=generator).to(DEVICE, dtype) for s in ((3, 5, 70), (3, 70, 40)))
    bias = torch.arange(40).to(DEVICE, dtype)
    expected = x.double() @ y.double() + bias.double()
    assert expected.abs().max() < 256, "no type of numbers rounds these"
    assert torch.equal(product(x, y, bias).double(), expected)
    assert torch.equal(product(x.transpose(0, 1).contiguous().transpose(0, 1), y, bias).double(), expected)


WIDE = 2500


def wide_rows(dtype: torch.dtype) -> torch.Tensor:
    return torch.randn((MOST, WIDE), generator=torch.Generator().manual_seed(0)).to(DEVICE, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_sum_gives_a_row_its_own_bits(dtype: torch.dtype) -> None:
    x = wide_rows(dtype)
    mean = row_sum(x, torch.float32, mean=True)
    torch.testing.assert_close(mean, x.double().mean(1).float())
    for rows in (1, 2, 7, 8, 33):
        assert torch.equal(row_sum(x[-rows:], torch.float32, mean=True), mean[-rows:])


@on_a_cpu
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_sum_is_that_of_its_steps_in_their_order(dtype: torch.dtype) -> None:
    x, step = wide_rows(dtype), row_kernels._COLUMNS
    lanes = np.zeros((MOST, step), np.float32)
    for begin in range(0, WIDE, step):
        part = x[:, begin : begin + step].float().numpy()
        lanes[:, : part.shape[1]] += part
    total = torch.from_numpy(lanes.sum(1))
    assert torch.equal(row_sum(x, torch.float32, mean=False), total)
    assert torch.equal(row_sum(x, torch.float32, mean=True), total / WIDE)


HEADS, HEAD_DIM = 4, 24
LONGEST = 150
PAGES = list(range(3, 3 + pages_for(LONGEST)))


@pytest.mark.parametrize("look", [Look(0.2), Look(0.2, window=37), Look(0.2, window=100, softcap=2.0)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_attention_gives_a_query_its_own_bits(dtype: torch.dtype, look: Look) -> None:
    cache = filled_cache(dtype, HEAD_DIM, DEVICE)
    query = torch.randn((HEADS, LONGEST, HEAD_DIM), generator=torch.Generator().manual_seed(1)).to(DEVICE, dtype)

    def attended(rows: Sequence[tuple[int, int]], *, frame: bool = False) -> torch.Tensor:
        """Of queries [start, start + count) of the text for each of the rows, [tokens, heads, head_dim]."""
        plan = tile_plan(spans_of((start, count, PAGES[: pages_for(start + count)]) for start, count in rows), DEVICE)
        asked = torch.cat([query[:, start : start + count] for start, count in rows], 1)
        tiles, pages = plan.tiles, plan.pages
        if frame:
            padded = Frame.empty(asked.shape[1] + 3, cache)
            padded.plan.tiles[: len(tiles)].copy_(tiles)
            padded.plan.pages[: len(pages)].copy_(pages)
            tiles, pages = padded.plan.tiles, padded.plan.pages
        return tile_kernel.attend(
            asked.transpose(0, 1), cache.keys[0], cache.values[0], tiles, pages, look, TILE_QUERIES
        )

    whole = attended([(0, LONGEST)])
    # Alone, and at each place of a tile, near the ends of the steps of 64 positions and of pages.
    for position in (64, 130):
        assert torch.equal(attended([(position, 1)])[0], whole[position]), position
        for place in range(1, TILE_QUERIES):
            start, count = position - place, place + 1 if place % 2 else TILE_QUERIES
            if start >= 0:
                assert torch.equal(attended([(start, count)]), whole[start : start + count]), (position, place)
    rng = random.Random(0)
    for frame in (False, True):
        rows = [(rng.randrange(LONGEST - 21), rng.randint(1, 20)) for _ in range(6)]
        expected = torch.cat([whole[start : start + count] for start, count in rows])
        assert torch.equal(attended(rows, frame=frame)[: len(expected)], expected)


@on_a_cpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_attention_is_the_sum_of_its_steps_in_their_order(dtype: torch.dtype) -> None:
    cache = filled_cache(dtype, HEAD_DIM, DEVICE)
    query = torch.randn((HEADS, LONGEST, HEAD_DIM), generator=torch.Generator().manual_seed(1)).to(DEVICE, dtype)
    plan = tile_plan(spans_of([(0, LONGEST, PAGES)]), DEVICE)
    got = plan.attend(cache, 0, query, Look(0.2))
    slots = [page * PAGE_SIZE + place for page in PAGES for place in range(PAGE_SIZE)]
    scale = np.float32(0.2 * np.log2(np.e))
    step = tile_kernel._POSITIONS
    for position in (0, 1, 63, 64, 130, LONGEST - 1):
        for head in range(HEADS):
            keys, values = (
                kept.flatten(0, 1)[slots[: position + 1], head // 2].float().numpy()
                for kept in (cache.keys[0], cache.values[0])
            )
            asked = query[head, position].float().numpy()[None]
            top, total = np.float32(-np.inf), np.float32(0)
            mixed = np.zeros((1, HEAD_DIM), np.float32)
            for begin in range(0, position + 1, step):
                score = np.full((1, step), -np.inf, np.float32)
                part = keys[begin : begin + step]
                score[:, : len(part)] = chained(asked, part.T) * scale
                higher = np.maximum(top, score.max())
                weight, fade = np.exp2(score - higher), np.exp2(top - higher)
                total = total * fade + weight.sum(1)
                rounded = torch.from_numpy(weight[:, : len(part)]).to(dtype).float().numpy()
                mixed = mixed * fade + chained(rounded, values[begin : begin + step])
                top = higher
            expected = torch.from_numpy((mixed / total)[0]).to(dtype)
            assert torch.equal(got[position, head], expected), (position, head)
