"""The ragged paged forward gives plain transformers' logits, and refuses what it can't truncate."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from hub.engine.tuning import measured_forward_time
from hub.kv.kv_cache import KVCache, default_kv_memory
from hub.model import threads as probe
from hub.model.batch import Row
from hub.model.device import pick_device, pick_dtype
from hub.model.int8 import IntegerLinear
from hub.model.linear import CpuLinear
from hub.model.target import Target
from hub.settings import Weights
from shared.errors import SettingsError
from shared.pair import load_pair
from tests import models

CPU = torch.device("cpu")


def load(folder: str) -> Target:
    return Target(folder, device=CPU, dtype=torch.float32, kv_memory=1 << 20)


def pages(target: Target, length: int) -> list[int]:
    table: list[int] = []
    target.pool.grow(table, length)
    return table


@pytest.fixture(params=["llama", "qwen2", "home"])
def checkpoint(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "home":
        return load_pair("home").target
    return models.save(getattr(models, request.param)(), tmp_path)


def test_a_ragged_batch_equals_each_sequence_alone(checkpoint: str) -> None:
    model = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32).eval()
    target = load(checkpoint)
    generator = torch.Generator().manual_seed(1)
    texts = [torch.randint(2, models.VOCAB, (n,), generator=generator).tolist() for n in (40, 23, 57, 2)]
    truths = [model(torch.tensor([text])).logits[0] for text in texts]
    tables = [pages(target, len(text)) for text in texts]
    # A first forward feeds uneven parts of each, so that the second attends to pages of different fill.
    parts = [31, 1, 40, 1]
    target.forward([Row(s, 0, tuple(t[:p]), 1) for s, t, p in zip(tables, texts, parts, strict=True)])
    rows = [Row(s, p, tuple(t[p:]), len(t) - p) for s, t, p in zip(tables, texts, parts, strict=True)]
    logits = target.forward(rows)
    expected = torch.cat([truth[p:] for truth, p in zip(truths, parts, strict=True)])
    torch.testing.assert_close(logits, expected, atol=2e-4, rtol=1e-4)


def test_a_rejected_block_leaves_no_trace(tmp_path: Path) -> None:
    model = models.llama()
    target = load(models.save(model, tmp_path))
    made = pages(target, 30)
    text = list(range(5, 25))
    target.forward([Row(made, 0, tuple(text), 1)])
    target.forward([Row(made, 19, (24, 90, 91, 92), 4)])
    logits = target.forward([Row(made, 19, (24, 30, 31), 3)])
    expected = model(torch.tensor([[*text, 30, 31]])).logits[0, 19:]
    torch.testing.assert_close(logits, expected, atol=2e-4, rtol=1e-4)


def test_only_wanted_logits_are_computed(tmp_path: Path) -> None:
    target = load(models.save(models.llama(), tmp_path))
    rows = [Row(pages(target, 10), 0, (5,) * 10, 0), Row(pages(target, 3), 0, (6,) * 3, 2)]
    assert target.forward(rows).shape == (2, models.VOCAB)


def test_layers_for_a_cpu_give_the_logits_of_plain_ones(tmp_path: Path) -> None:
    folder = models.save(models.qwen2(), tmp_path)  # has biases
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16).eval()
    target = Target(folder, device=CPU, dtype=torch.bfloat16, kv_memory=1 << 20)
    assert any(isinstance(module, CpuLinear) for module in target._model.modules())
    text = list(range(5, 45))
    logits = target.forward([Row(pages(target, len(text)), 0, tuple(text), len(text))])
    expected = model(torch.tensor([text])).logits[0]
    torch.testing.assert_close(logits, expected, atol=0.05, rtol=0.05)


@pytest.mark.parametrize(("weights", "off", "share"), [(Weights.INT8, 0.05, 0.8), (Weights.INT4, 0.25, 0.7)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_rounded_weights_are_near_and_a_rows_logits_are_its_own_to_the_last_bit(
    tmp_path: Path, dtype: torch.dtype, weights: Weights, off: float, share: float
) -> None:
    folder = models.save(models.qwen2(), tmp_path)
    plain = Target(folder, device=CPU, dtype=dtype, kv_memory=1 << 20)
    target = Target(folder, device=CPU, dtype=dtype, kv_memory=1 << 20, weights=weights)
    assert target.is_exact
    assert weights.value in target.bits
    assert 0.1 <= target.weight_bytes / plain.weight_bytes < share
    text = tuple(range(5, 45))

    def logits(one: Target, parts: int) -> torch.Tensor:
        made = pages(one, len(text))
        step = len(text) // parts
        return torch.cat([one.forward([Row(made, at, text[at : at + step], step)]) for at in range(0, 40, step)])

    expected, blocks = logits(plain, 1), logits(target, 8)
    assert float((blocks - expected).std()) < off * float(expected.std())
    layer = next(m for m in target._model.modules() if isinstance(m, IntegerLinear) and m.name == weights.value)
    x = torch.randn(33, layer.in_features).to(dtype)
    assert layer(x).equal(torch.cat([layer(x[:1]), layer(x[1:6]), layer(x[6:])]))


def test_weights_in_int4_are_for_a_cpu() -> None:
    with pytest.raises(SettingsError, match="on a CPU alone; use --device cpu"):
        Target("x", device=torch.device("meta"), dtype=torch.float32, kv_memory=None, weights=Weights.INT4)


def test_pages_never_used_cost_no_memory() -> None:
    assert default_kv_memory(CPU) > 1 << 27
    before = resident()
    cache = KVCache(4, 8191, 4, 64, torch.bfloat16, CPU)  # and the spare one
    assert sum(tensor.nbytes for tensor in (*cache.keys, *cache.values)) == 1 << 29
    assert resident() - before < 1 << 24
    assert cache.keys[3][8191].eq(0).all()


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_probing_gives_the_pages_back_and_measures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock that a forward moves on by 100 ms, 10 ms a row and 1 ms an id."""
    target = load(models.save(models.llama(), tmp_path))
    free = target.pool.available
    now = [0.0]
    forward = target.forward

    def timed(rows: Sequence[Row]) -> torch.Tensor:
        now[0] += 0.1 + 0.01 * len(rows) + 0.001 * sum(len(row.ids) for row in rows)
        return forward(rows)

    monkeypatch.setattr(target, "forward", timed)
    monkeypatch.setattr("hub.engine.tuning.time.monotonic", lambda: now[0])
    time = measured_forward_time(target)
    monkeypatch.undo()
    assert target.pool.available == free
    assert time.estimate(1, 1) == pytest.approx(0.111, rel=0.02)
    assert time.estimate(16, 48) == pytest.approx(0.308, rel=0.05)


def test_devices_and_dtypes() -> None:
    assert pick_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert pick_dtype("bfloat16") is torch.bfloat16
    with pytest.raises(SettingsError, match="no dtype"):
        pick_dtype("int3")
    with pytest.raises(SettingsError, match="no device"):
        pick_device("toaster")
    if not torch.cuda.is_available():
        with pytest.raises(SettingsError, match="no CUDA"):
            pick_device("cuda")


@pytest.mark.parametrize(
    ("seconds", "chosen", "crowded"),
    [
        ({4: 1.0, 2: 1.9, 1: 3.7}, 4, 4),
        ({4: 1.0, 2: 1.05, 1: 2.0}, 2, 4),
        ({4: 1.0, 2: 1.0, 1: 1.08}, 1, 4),
        ({4: 0.8, 2: 0.95, 1: 1.0}, 1, 4),
        ({4: 1.1, 2: 1.05, 1: 1.0}, 1, 4),
        ({4: 1.5, 2: 1.05, 1: 1.0}, 1, 2),
        ({4: 3.0, 2: 1.5, 1: 1.0}, 1, 1),
    ],
)
def test_twice_the_threads_must_be_worth_it_while_nobody_else_computes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: dict[int, float], chosen: int, crowded: int
) -> None:
    target = load(models.save(models.llama(), tmp_path))
    monkeypatch.setattr(probe, "forward_seconds", lambda *_: seconds[torch.get_num_threads()])
    before = torch.get_num_threads()
    try:
        for is_crowded, expected in ((False, chosen), (True, crowded)):
            torch.set_num_threads(4)
            assert probe.fastest_threads(target, crowded=is_crowded) == expected
    finally:
        torch.set_num_threads(before)
