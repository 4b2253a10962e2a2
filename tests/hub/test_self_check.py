"""At its start a target's logits are compared with those of plain transformers, and one that computes others is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from hub.kv.kv_cache import KVCache
from hub.model.attention import NAME, Look
from hub.model.groups import GroupPlan
from hub.model.self_check import SelfCheck
from hub.model.target import Target
from hub.settings import Weights
from shared.errors import PairError, SettingsError
from tests import models

CPU = torch.device("cpu")


def target(folder: Path | str, dtype: torch.dtype = torch.float32, weights: Weights = Weights.AUTO) -> Target:
    return Target(folder, device=CPU, dtype=dtype, kv_memory=1 << 20, weights=weights)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (models.doge, "a mask of its own"),
        (models.xglm, "as plain transformers does: in a block"),
    ],
)
def test_an_architecture_that_is_computed_otherwise_is_refused(
    tmp_path: Path, make: Callable[[], Any], says: str
) -> None:
    with pytest.raises(PairError, match=says):
        target(models.save(make(), tmp_path))


def test_opt_is_refused_where_it_brings_its_own_mask_and_right_elsewhere(tmp_path: Path) -> None:
    folder = models.save(models.opt(), tmp_path)
    if transformers.__version__.startswith("4."):
        with pytest.raises(PairError, match="a mask of its own"):
            target(folder)
    else:
        target(folder)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("weights", Weights)
def test_rounding_is_no_reason_to_refuse(tmp_path: Path, dtype: torch.dtype, weights: Weights) -> None:
    target(models.save(models.qwen2(), tmp_path), dtype, weights)


def wrong_scale(plan: GroupPlan, cache: KVCache, layer: int, query: torch.Tensor, look: Look) -> torch.Tensor:
    return attend(plan, cache, layer, query, replace(look, scaling=2 * look.scaling))


def forgets_the_past(plan: GroupPlan, cache: KVCache, layer: int, query: torch.Tensor, look: Look) -> torch.Tensor:
    """Right for whole texts, and wrong for what is fed behind others."""
    started = any(bool((group.last[:, :1] > 0).any()) for group in plan.groups)
    return attend(plan, cache, layer, query * (0.0 if started else 1.0), look)


def mixes_rows(plan: GroupPlan, cache: KVCache, layer: int, query: torch.Tensor, look: Look) -> torch.Tensor:
    return attend(plan, cache, layer, query, look) + 0.01 * query.mean()


attend = GroupPlan.attend


@pytest.mark.parametrize(
    ("wrong", "says", "dtype"),
    [
        (wrong_scale, "in a block", torch.float32),
        (wrong_scale, "in a block", torch.bfloat16),
        (forgets_the_past, "a few ids at a time", torch.float32),
        (forgets_the_past, "a few ids at a time", torch.bfloat16),
        (mixes_rows, "in a block", torch.float32),
    ],
)
def test_attention_that_is_wrong_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: Callable[..., torch.Tensor], says: str, dtype: torch.dtype
) -> None:
    monkeypatch.setattr(GroupPlan, "attend", wrong)
    with pytest.raises(PairError, match=f"{says} its logits are off by"):
        target(models.save(models.llama(), tmp_path), dtype)


def test_rotary_factors_that_depend_on_the_longest_text_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nobody says at what position they change."""
    model = models.longrope()
    monkeypatch.setattr("hub.model.target.rotary_limit", lambda config: None)
    with pytest.raises(PairError, match="beside a text as long as the context"):
        target(models.save(model, tmp_path))


def test_the_model_is_loaded_once_and_computes_by_pages_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads = 0
    load = transformers.AutoModelForCausalLM.from_pretrained

    def counted(*args: Any, **kwargs: Any) -> Any:
        nonlocal loads
        loads += 1
        return load(*args, **kwargs)

    monkeypatch.setattr(transformers.AutoModelForCausalLM, "from_pretrained", counted)
    made = target(models.save(models.llama(), tmp_path))
    assert loads == 1
    assert made._model.config._attn_implementation == NAME
    assert made.pool.available == made.pool.count


def test_padding_and_the_like_are_not_among_the_ids(tmp_path: Path) -> None:
    model = models.llama()
    model.config.pad_token_id, model.config.image_token_id = 5, 6
    with torch.no_grad():
        model.model.embed_tokens.weight[7] = float("nan")
    used = {token for text in SelfCheck(model, "sdpa", models.CONTEXT, rounded=False)._texts for token in text}
    assert not used & {models.END, 5, 6, 7}
    assert len(used) > 30


def test_a_padding_id_whose_key_is_zero_is_no_reason_to_refuse(tmp_path: Path) -> None:
    model = models.llama()
    model.model.embed_tokens.weight.data[0] = 0
    target(models.save(model, tmp_path))


def test_too_few_pages_for_the_check_are_a_sentence(tmp_path: Path) -> None:
    page = KVCache.bytes_per_page(2, 2, 16, torch.float32)
    with pytest.raises(SettingsError, match="give the hub more memory"):
        Target(models.save(models.llama(), tmp_path), device=CPU, dtype=torch.float32, kv_memory=3 * page)
