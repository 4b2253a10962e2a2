"""Rounded weights are kept for the next start, and a file that is damaged costs nothing but time."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from hub import tensor_file
from hub.model import rounding
from hub.model.batch import Row
from hub.model.int4 import Int4Linear
from hub.model.int8 import Int8Linear, Parts
from hub.model.target import Target
from hub.settings import Weights
from tests import models

CPU = torch.device("cpu")
IDS = tuple(range(1, 30))


def logits_of(target: Target) -> torch.Tensor:
    pages: list[int] = []
    target.pool.grow(pages, len(IDS))
    return target.forward([Row(pages, 0, IDS, len(IDS))]).clone()


def loaded(folder: str, cache: Path | None, weights: Weights = Weights.INT4) -> Target:
    return Target(folder, device=CPU, dtype=torch.float32, kv_memory=1 << 20, weights=weights, rounded=cache)


@pytest.fixture
def checkpoint(tmp_path: Path) -> str:
    return models.save(models.llama(), tmp_path / "checkpoint")


def no_rounding(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: torch.Tensor) -> None:
        raise AssertionError("it is rounded again")

    for kind in (Int4Linear, Int8Linear):
        monkeypatch.setattr(kind, "rounded_parts", refuse)


@pytest.mark.parametrize("weights", [Weights.INT8, Weights.INT4])
def test_what_was_rounded_once_is_read(
    weights: Weights, checkpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = loaded(checkpoint, tmp_path / "cache", weights)
    no_rounding(monkeypatch)
    again = loaded(checkpoint, tmp_path / "cache", weights)
    assert again.bits == first.bits
    assert torch.equal(logits_of(first), logits_of(again))
    assert (tmp_path / "cache").stat().st_mode & 0o777 == 0o700


def test_another_way_to_round_and_other_weights_have_files_of_their_own(checkpoint: str, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    loaded(checkpoint, cache)
    loaded(checkpoint, cache, Weights.INT8)
    loaded(models.save(models.llama(1), tmp_path / "other"), cache)
    assert len(list(cache.iterdir())) == 3


@pytest.mark.parametrize("damage", ["cut", "changed", "of_others"])
def test_a_damaged_file_is_made_anew(damage: str, checkpoint: str, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    right = logits_of(loaded(checkpoint, cache))
    (file,) = cache.iterdir()
    content = bytearray(file.read_bytes())
    if damage == "cut":
        file.write_bytes(content[: len(content) // 2])
    elif damage == "changed":
        content[-5] ^= 0x10
        file.write_bytes(content)
    else:
        file.write_bytes(b"GIF89a")
    assert torch.equal(logits_of(loaded(checkpoint, cache)), right)
    (file,) = cache.iterdir()
    assert file.stat().st_size == len(content)


def test_a_folder_that_cannot_be_written_costs_nothing_else(checkpoint: str, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file, no folder")
    assert loaded(checkpoint, tmp_path / "cache").vocab_size > 0


def test_a_full_disk_is_left_alone(checkpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensor_file, "_LEFT", 2**60)
    loaded(checkpoint, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_few_files_stay_and_those_used_last(checkpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounding, "_MOST_FILES", 1)
    cache = tmp_path / "cache"
    loaded(checkpoint, cache)
    (old,) = cache.iterdir()
    os.utime(old, (1, 1))
    loaded(checkpoint, cache, Weights.INT8)
    (kept,) = cache.iterdir()
    assert kept != old


@pytest.mark.parametrize("weights", [Weights.INT8, Weights.INT4])
def test_a_model_is_rounded_alike_by_any_number_of_threads(weights: Weights, checkpoint: str, tmp_path: Path) -> None:
    before = torch.get_num_threads()
    files = []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            loaded(checkpoint, tmp_path / str(threads), weights)
            assert torch.get_num_threads() == threads
            (file,) = (tmp_path / str(threads)).iterdir()
            files.append(file.read_bytes())
    finally:
        torch.set_num_threads(before)
    assert files[0] == files[1] == files[2]


def test_models_that_are_rounded_otherwise_say_so(
    checkpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calibrated = loaded(checkpoint, None)
    assert loaded(checkpoint, None).bits == calibrated.bits
    monkeypatch.setattr(rounding, "inputs_of", lambda *_: {})
    assert loaded(checkpoint, None).bits != calibrated.bits


def test_inputs_that_stand_out_are_shrunk_and_outputs_come_nearer() -> None:
    """One input in a hundred is fifty times larger than the others, as real models have them."""
    torch.manual_seed(0)
    weight, given = torch.randn(256, 512), torch.randn(96, 512)
    given[:, ::100] *= 50
    expected = given @ weight.T

    def off(parts: Parts) -> float:
        return float((Int8Linear.made_of(parts, None)(given) - expected).norm() / expected.norm())

    chosen = rounding._parts(Int8Linear, weight, given)
    assert "shrink" in chosen
    assert off(chosen) < 0.7 * off(Int8Linear.rounded_parts(weight))


def test_an_architecture_that_cannot_be_calibrated_is_rounded_all_the_same(
    checkpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ValueError("no cache of keys and values")

    monkeypatch.setattr(rounding, "inputs_of", fail)
    assert loaded(checkpoint, None).is_exact


def test_what_a_killed_hub_left_half_written_goes(checkpoint: str, tmp_path: Path) -> None:
    old, new = tmp_path / ".unfinished-old", tmp_path / ".unfinished-new"
    for folder in (old, new):
        folder.mkdir()
        (folder / "part").write_bytes(bytes(100))
    os.utime(old, (1, 1))
    loaded(checkpoint, tmp_path)
    assert not old.exists()
    assert new.exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_cache_of_another_user_costs_nothing_else(checkpoint: str, tmp_path: Path) -> None:
    loaded(checkpoint, tmp_path)
    tmp_path.chmod(0)
    try:
        assert loaded(checkpoint, tmp_path).vocab_size > 0
    finally:
        tmp_path.chmod(0o700)


def test_what_is_decided_of_a_large_layer_does_not_depend_on_threads() -> None:
    """Layers of the size at which torch gives each thread a share."""
    torch.manual_seed(0)
    weight, given = torch.randn(1024, 2048), torch.randn(96, 2048) * torch.rand(2048).pow(4)
    before, made = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            made.append(rounding._parts(Int4Linear, weight, given))
    finally:
        torch.set_num_threads(before)
    assert "shrink" in made[0]
    for parts in made[1:]:
        assert all(torch.equal(parts[name], tensor) for name, tensor in made[0].items())
