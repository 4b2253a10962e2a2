"""What answers are compared with where plain transformers and the hub need not round alike."""

from __future__ import annotations

import pytest
import torch

from hub.model.target import Target
from tests import models
from tools.bench.truths import Flips, OwnTruth
from tools.rig.lone_target import LoneTarget
from tools.rig.number_format import NumberFormat
from tools.rig.oracle import Oracle, Rule

TOLD = models.VOCAB, [models.END], models.CONTEXT
PROMPT = list(range(2, 40))
RULES = [Rule(0.0, 0, 1.0, 1), Rule(0.9, 0, 1.0, 2), Rule(0.8, 20, 0.9, 3)]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> str:
    return models.save(models.llama(), tmp_path_factory.mktemp("target"))


def alone(checkpoint: str, name: str) -> LoneTarget:
    return LoneTarget(NumberFormat(name).load(Target, checkpoint, torch.device("cpu"), 1 << 22), *TOLD)


@pytest.mark.parametrize("rule", RULES)
def test_alone_in_float32_a_target_writes_what_plain_transformers_does(checkpoint: str, rule: Rule) -> None:
    for prompt in (PROMPT, PROMPT[:1], list(range(2, 90)) * 2):  # the last one reaches the end of the context
        expected = Oracle(checkpoint, *TOLD).answer(prompt, rule, 30)
        assert alone(checkpoint, "float32").answer(prompt, rule, 30) == expected


def test_an_answer_is_compared_with_both(checkpoint: str) -> None:
    truth = OwnTruth(alone(checkpoint, "bfloat16"), Oracle(checkpoint, *TOLD, torch.bfloat16))
    right, none = truth.of(PROMPT, [], RULES[0], 12)
    assert none == Flips()
    wrong = [*right[:-1], (right[-1] + 1) % models.VOCAB]
    again, flips = truth.of(PROMPT, wrong, RULES[0], 12)
    assert again == right
    assert flips is not None
    assert flips.positions == flips.greedy_positions == len(right)
    assert flips.flips == flips.greedy_flips == len(flips.margins) >= 1
    assert max(flips.margins) > 0


def test_what_noise_decides_has_no_margin(checkpoint: str) -> None:
    truth = OwnTruth(alone(checkpoint, "float32"), Oracle(checkpoint, *TOLD))
    _, flips = truth.of(PROMPT, [5] * 10, RULES[1], 10)
    assert flips is not None
    assert flips.positions == 10
    assert flips.flips > 5
    assert (flips.greedy_positions, flips.margins) == (0, ())


def test_flips_of_several_answers_are_counted_together() -> None:
    both = Flips(10, 2, 10, 2, (0.5, 0.25)) + Flips(8, 3) + Flips()
    assert both.figures() == {
        "plain_positions": 18,
        "plain_flips": 5,
        "plain_positions_greedy": 10,
        "plain_flips_greedy": 2,
        "plain_flip_margin_median": 0.375,
        "plain_flip_margin_max": 0.5,
    }
