"""A row's logits are its own to the last bit: however its ids are fed, and whoever is beside it."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from hub.model import row_bits
from hub.model.batch import Row
from hub.model.groups import Padding
from hub.model.linear import PackedLinear, can_pack
from hub.model.target import Target
from tests import models

CPU = torch.device("cpu")
DTYPES = [torch.float32, torch.bfloat16, torch.float16]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("size", "out"), [(96, 40), (384, 1024), (1536, 576)])
def test_a_packed_product_gives_a_row_its_own_bits(dtype: torch.dtype, size: int, out: int) -> None:
    if not can_pack(CPU, dtype):
        pytest.skip("this CPU has no products in that type")
    torch.manual_seed(0)
    layer = PackedLinear(torch.nn.Linear(size, out).to(dtype))
    x = torch.randn(1, 65, size).to(dtype)
    whole = layer(x)
    for count in (1, 2, 3, 4, 5, 8, 9, 16, 17, 31, 33, 64):
        assert torch.equal(layer(x[:, :count]), whole[:, :count]), count
        assert torch.equal(layer(x[:, -count:]), whole[:, -count:]), count


def held(target: Target, length: int) -> list[int]:
    table: list[int] = []
    target.pool.grow(table, length)
    return table


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("model", [models.llama, models.qwen2])
def test_logits_are_the_same_however_they_come_about(
    tmp_path: Path, dtype: torch.dtype, model: Callable[[], torch.nn.Module]
) -> None:
    target = Target(models.save(model(), tmp_path), device=CPU, dtype=dtype, kv_memory=1 << 22)
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
    monkeypatch.setattr("hub.model.target.can_pack", lambda *_: False)
    target = Target(models.save(models.llama(), tmp_path), device=CPU, dtype=torch.float32, kv_memory=1 << 22)
    assert not target.is_exact


def test_a_padding_that_is_not_enough_is_not_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    if row_bits._is_enough(Padding(), 8, 4, 64, torch.float32, 1200):
        pytest.skip("here attention needs no padding")
    assert row_bits.attention_padding(8, 4, 64, torch.float32, 1200) != Padding()
    monkeypatch.setattr(row_bits, "_PADDINGS", (Padding(),))
    assert row_bits.attention_padding(8, 4, 64, torch.float32, 1200) is None
