"""A row's logits are its own to the last bit: however its ids are fed, and whoever is beside it."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from hub.model import row_bits
from hub.model.activations import EvenActivation, even_size, replace_activations
from hub.model.batch import Row
from hub.model.groups import Padding
from hub.model.linear import CpuLinear, Tiles
from hub.model.target import Target
from hub.settings import Exact, Weights
from tests import models

CPU = torch.device("cpu")
DTYPES = [torch.float32, torch.bfloat16, torch.float16]
COUNTS = (1, 2, 3, 4, 5, 8, 9, 16, 17, 31, 33, 64)


@pytest.fixture
def threads() -> Iterator[None]:
    """For tests that change torch's number of threads."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("size", "out"), [(96, 40), (384, 1024), (1536, 576)])
@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.usefixtures("threads")
def test_a_settled_product_gives_a_row_its_own_bits(dtype: torch.dtype, size: int, out: int, count: int) -> None:
    torch.set_num_threads(count)
    torch.manual_seed(0)
    layer = CpuLinear(torch.nn.Linear(size, out), dtype)
    assert row_bits.settle_tiles([layer], slow=True)
    x = torch.randn(1, 65, size).to(dtype)
    whole = layer(x)
    for rows in COUNTS:
        assert torch.equal(layer(x[:, :rows]), whole[:, :rows]), rows
        assert torch.equal(layer(x[:, -rows:]), whole[:, -rows:]), rows


@pytest.mark.parametrize("tiles", [Tiles(), Tiles(2), Tiles(16, cut=True), Tiles(1, cut=True)])
@pytest.mark.parametrize("size", [96, 1024])
def test_tiles_change_no_more_than_rounding(tiles: Tiles, size: int) -> None:
    torch.manual_seed(0)
    linear = torch.nn.Linear(size, 512)
    layer = CpuLinear(linear, torch.float32)
    layer.tiles = tiles
    for rows in (0, 1, 2, 15, 16, 17, 33):
        x = torch.randn(rows, size)
        torch.testing.assert_close(layer(x), linear(x), atol=1e-5, rtol=1e-5)


class _OfTheBatch(CpuLinear):
    """A layer that sums in another order where there are many rows."""

    def _product(self, rows: torch.Tensor) -> torch.Tensor:
        if len(rows) > 5:
            order = torch.arange(self.in_features).flip(0)
            return torch.nn.functional.linear(rows[:, order], self._weight[:, order])
        return torch.nn.functional.linear(rows, self._weight)


def test_a_layer_whose_order_hangs_on_the_batch_is_cut_into_tiles() -> None:
    torch.manual_seed(0)
    layer = _OfTheBatch(torch.nn.Linear(96, 40, bias=False), torch.float32)
    x = torch.randn(40, 96)
    assert not torch.equal(layer(x)[:2], layer(x[:2]))
    assert row_bits.settle_tiles([layer], slow=False)
    assert layer.tiles.cut
    assert torch.equal(layer(x)[:2], layer(x[:2]))


@pytest.mark.parametrize("function", [torch.nn.SiLU(), torch.nn.GELU(), torch.nn.GELU(approximate="tanh")])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("count", [1, 3, 4])
@pytest.mark.usefixtures("threads")
def test_an_activation_gives_a_number_the_same_bits_in_every_row(
    function: torch.nn.Module, dtype: torch.dtype, count: int
) -> None:
    torch.set_num_threads(count)
    even = EvenActivation(function)
    for size in (96, 100, 5632):
        x = (torch.randn(1, 65, size, generator=torch.Generator().manual_seed(size)) * 3).to(dtype)
        whole = even(x)
        for rows in COUNTS:
            assert torch.equal(even(x[:, :rows]), whole[:, :rows]), (size, rows)
            assert torch.equal(even(x[:, -rows:]), whole[:, -rows:]), (size, rows)


@pytest.mark.parametrize(
    ("count", "threads_there"), [(0, 1), (64, 1), (65, 1), (5632 * 16, 4), (5632 * 33, 3), (10**6 + 1, 7)]
)
def test_every_share_of_an_even_size_ends_evenly(count: int, threads_there: int) -> None:
    size = even_size(count, threads_there)
    for used in (max(1, min(threads_there, -(-size // 32768))), threads_there if size > 16384 else 1):
        assert size % (64 * used) == 0
    assert count <= size < count + 64 * threads_there**2 * 2


def test_every_activation_of_a_model_is_replaced() -> None:
    model = models.llama()
    replace_activations(model)
    kinds = [type(layer.mlp.act_fn) for layer in model.model.layers]
    assert kinds == [EvenActivation] * len(kinds)


def held(target: Target, length: int) -> list[int]:
    table: list[int] = []
    target.pool.grow(table, length)
    return table


@pytest.mark.parametrize("weights", list(Weights))
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("model", [models.llama, models.qwen2])
def test_logits_are_the_same_however_they_come_about(
    tmp_path: Path, dtype: torch.dtype, model: Callable[[], torch.nn.Module], weights: Weights
) -> None:
    target = Target(models.save(model(), tmp_path), device=CPU, dtype=dtype, kv_memory=1 << 22, weights=weights)
    assert target.is_exact
    rng = random.Random(0)
    text = tuple(rng.randrange(2, models.VOCAB) for _ in range(min(120, target.context)))

    def logits(largest: int, beside: int) -> torch.Tensor:
        others = [held(target, 40) for _ in range(beside)]
        pages = held(target, len(text))
        at, got = 0, []
        while at < len(text):
            ids = text[at : at + rng.randint(1, largest)]
            rows = [Row(own, 0, tuple(rng.choices(text, k=rng.randint(1, 40))), 1) for own in others]
            place = rng.randint(0, len(rows))
            rows.insert(place, Row(pages, at, ids, len(ids)))
            got.append(target.forward(rows)[place : place + len(ids)].clone())  # the others want one each
            at += len(ids)
        for own in (pages, *others):
            target.pool.shrink(own, 0)
        return torch.cat(got)

    alone = logits(len(text), 0)
    for largest, beside in ((1, 0), (1, 7), (16, 0), (16, 3), (60, 5)):
        assert torch.equal(logits(largest, beside), alone), (largest, beside)


def test_a_plain_linear_layer_is_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CpuLinear, "_product", _OfTheBatch._product)
    monkeypatch.setattr(row_bits, "_TILES", (Tiles(),))
    target = Target(models.save(models.llama(), tmp_path), device=CPU, dtype=torch.float32, kv_memory=1 << 22)
    assert not target.is_exact


def test_nothing_is_promised_where_nothing_is_asked(tmp_path: Path) -> None:
    folder = models.save(models.llama(), tmp_path)
    target = Target(folder, device=CPU, dtype=torch.float32, kv_memory=1 << 22, exact=Exact.OFF)
    assert not target.is_exact
    assert not any(isinstance(module, EvenActivation) for module in target._model.modules())


def test_a_padding_that_is_not_enough_is_not_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    if row_bits._is_enough(Padding(), 2, 64, torch.float32, 1200):
        pytest.skip("here attention needs no padding")
    assert row_bits.attention_padding(8, 4, 64, torch.float32, 1200) is not None
    monkeypatch.setattr(row_bits, "_PADDINGS", (Padding(),))
    assert row_bits.attention_padding(8, 4, 64, torch.float32, 1200) is None
