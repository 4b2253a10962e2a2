"""What a hub says of the bits of its logits: the same for the same, another for what may change them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from hub.model import identity
from hub.model.checkpoint import load_checkpoint
from hub.model.identity import bits_of, weights_hash
from hub.model.target import Target
from tests import models

CPU = torch.device("cpu")


def hash_of(folder: str) -> str:
    return weights_hash(load_checkpoint(folder, dtype=torch.bfloat16))


def test_checkpoints_are_told_apart_by_one_weight_and_by_their_configuration(tmp_path: Path) -> None:
    model = models.llama()
    same = [hash_of(models.save(model, tmp_path / name)) for name in ("first", "second")]
    assert same[0] == same[1]
    with torch.no_grad():
        model.model.layers[1].mlp.up_proj.weight[3, 5] += 0.5
    assert hash_of(models.save(model, tmp_path / "weight")) != same[0]
    config = tmp_path / "first" / "config.json"
    config.write_text(config.read_text().replace('"rms_norm_eps": 1e-06', '"rms_norm_eps": 1e-05'))
    assert hash_of(str(tmp_path / "first")) != same[0]


def test_threads_and_processors_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.get_num_threads()
    try:
        said = set()
        for threads in (1, 2):
            torch.set_num_threads(threads)
            said.add(bits_of("abc", CPU, "float32 products", exact=True))
            assert bits_of("abc", CPU, "float32 products", exact=True) in said, "and it says the same again"
    finally:
        torch.set_num_threads(before)
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    said.add(bits_of("abc", CPU, "float32 products", exact=True))
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "DEFAULT")
    said.add(bits_of("abc", CPU, "float32 products", exact=True))
    monkeypatch.setattr(identity, "version", lambda _: "9.9")
    said.add(bits_of("abc", CPU, "float32 products", exact=True))
    said.add(bits_of("abc", CPU, "float32 products", exact=False))
    assert len(said) == 6
    assert all(f"torch {torch.__version__}" in each for each in said)


def test_it_fits_into_its_field(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity, "version", lambda _: "9" * 200)
    assert len(bits_of("abc", CPU, "float32 products", exact=True)) == 256
    assert bits_of("abc", CPU, "float32 products", exact=False).startswith("not batch-invariant")


def test_a_target_that_is_not_exact_says_so(tmp_path: Path) -> None:
    target = Target(models.save(models.llama(), tmp_path), device=CPU, dtype=torch.float32, kv_memory=1 << 20)
    assert ("not batch-invariant" in target.bits) == (not target.is_exact)
    target.is_exact = not target.is_exact
    assert ("not batch-invariant" in target.bits) == (not target.is_exact)
