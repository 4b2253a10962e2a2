"""A target split over two processes: its text, what is said when one of them is gone, and what is refused."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from hub.model.split import split_layers, sum_behind
from hub.settings import Exits, HubSettings, Weights
from shared.errors import PairError, SettingsError
from tools.bench.parallel import measured
from tools.rig.architectures import ARCHITECTURES


@pytest.mark.slow
def test_two_processes_write_the_text_of_one_and_the_hub_ends_when_one_is_gone() -> None:
    figures = measured(2, 8, "qwen2")
    assert figures["mismatches"] == 0
    assert figures["compared_tokens"] > 100
    assert figures["forwards"] > 20
    assert figures["lost_rank_status"] == 1
    assert "process 1 of the target's 2 has ended (SIGKILL); the hub can't go on" in figures["lost_rank_said"]
    assert figures["lost_rank_s"] < 20
    assert figures["processes_left"] == 0


@pytest.mark.parametrize(("name", "split"), [("qwen2", True), ("llama-biases", True), ("olmo2", False)])
def test_the_parts_of_every_layer_make_up_the_whole(name: str, split: bool, tmp_path: Path) -> None:
    whole = AutoModelForCausalLM.from_pretrained(ARCHITECTURES[name].save(tmp_path)).eval()
    parts = [copy.deepcopy(whole) for _ in range(2)]
    summed = [split_layers(part, rank, 2) for rank, part in enumerate(parts)]
    assert summed[0] == summed[1]
    assert any("down_proj" in each for each in summed[0])
    assert any("o_proj" in each for each in summed[0]) == split
    heads = whole.config.num_attention_heads
    assert [part.config.num_attention_heads for part in parts] == [heads // 2 if split else heads] * 2
    x = torch.randn(5, whole.config.hidden_size)
    layers = [each.model.layers[0].mlp for each in (whole, *parts)]
    torch.testing.assert_close(layers[1](x) + layers[2](x), layers[0](x))


def test_outputs_are_summed_behind_the_layers_that_need_it(tmp_path: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(ARCHITECTURES["llama"].save(tmp_path)).eval()
    summed = split_layers(model, 0, 2)
    x = torch.randn(5, model.config.hidden_size)
    alone = model.model.layers[0].mlp(x).clone()
    sum_behind(model, summed, lambda tensor: tensor.mul_(2))
    torch.testing.assert_close(model.model.layers[0].mlp(x), 2 * alone)


@pytest.mark.parametrize(("name", "count", "sentence"), [("gpt2", 2, "no plan"), ("llama", 3, "can't be split by 3")])
def test_what_has_no_plan_or_can_not_be_split_evenly_is_refused(
    name: str, count: int, sentence: str, tmp_path: Path
) -> None:
    model = AutoModelForCausalLM.from_pretrained(ARCHITECTURES[name].save(tmp_path))
    with pytest.raises(PairError, match=sentence):
        split_layers(model, 0, count)


@pytest.mark.parametrize(
    "settings", [{"device": "cuda:1"}, {"weights": Weights.INT8}, {"exits": Exits.ALWAYS}, {"ranks": 65}]
)
def test_what_a_split_target_can_not_have_is_refused(settings: dict[str, object]) -> None:
    with pytest.raises(SettingsError):
        HubSettings(**{"ranks": 2, **settings})  # type: ignore[arg-type]
