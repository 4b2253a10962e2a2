"""Plans: the best of all combinations up to the table's levels, within the limits; and a draft made by one, which a device loads."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from edge_node.drafting.onnx_drafter import OnnxDrafter
from edge_node.drafts import chosen_draft
from hub.export.sensitivity import OUT, sensitivities
from hub.pairing.making import Wish, make_pair
from hub.planning.planning import Order, make_plan
from hub.planning.program import Choice, Limits, Plan, Vocabulary, best_plan, planned
from shared.device_profile import DeviceProfile, read_profile
from shared.errors import PairError
from shared.pair import load_pair
from tests import models
from tests.hub.test_distil import texts
from tests.hub.test_pairing import PROMPTS, Silent, run, said, whole

__all__ = ["whole"]
LIMITS = Limits(acceptance=0.97, loss=0.03, per_root=0.4, bytes=10**9, round_s=0.1)


def made_up(rng: random.Random, layers: int) -> list[dict[int, Choice]]:
    """Choices such as layers of different sensitivity and size have."""
    found = []
    for _ in range(layers):
        sensitive, size = 10 ** rng.uniform(-5, -2), rng.uniform(0.5, 2)
        found.append(
            {
                bits: Choice(sensitive * 4.0 ** (8 - bits) / 4**4, size * (bits + 1) / 3000, int(size * bits * 1e6))
                for bits in (8, 4, 2)
            }
            | {OUT: Choice(sensitive * rng.uniform(50, 500), 0.0, 0)}
        )
    return found


VOCABULARIES = [
    Vocabulary(8, None, 0.0, Choice(0.00001, 0.006, 30_000_000)),
    Vocabulary(4, None, 0.0, Choice(0.002, 0.004, 16_000_000)),
    Vocabulary(8, 1000, 0.015, Choice(0.00001, 0.002, 38_000_000)),
]


def exhaustive(layers: list[dict[int, Choice]], limits: Limits) -> Plan:
    """The best of all combinations, each looked at."""
    every = (
        planned(layers, bits, vocabulary, limits) for vocabulary in VOCABULARIES for bits in itertools.product(*layers)
    )
    within = [p for p in every if p.bytes <= limits.bytes and p.acceptance >= limits.acceptance - limits.loss]
    return max(within, key=lambda plan: plan.tokens_per_s)


@pytest.mark.parametrize("seed", range(12))
def test_a_plan_is_as_good_as_the_best_of_all_combinations(seed: int) -> None:
    layers = made_up(random.Random(seed), 5)
    for size in (10**9, 60_000_000):
        limits = replace(LIMITS, bytes=size)
        plan = best_plan(layers, VOCABULARIES, limits)
        best = exhaustive(layers, limits)
        assert plan is not None
        assert plan.bytes <= size
        assert plan.acceptance >= limits.acceptance - limits.loss
        assert 0.98 * best.tokens_per_s <= plan.tokens_per_s <= best.tokens_per_s


def test_what_no_choice_fits_has_no_plan() -> None:
    layers = made_up(random.Random(0), 3)
    assert best_plan(layers, VOCABULARIES, replace(LIMITS, bytes=15_000_000)) is None
    none = best_plan(layers, VOCABULARIES, replace(LIMITS, loss=0.0))
    assert none is None or none.acceptance >= LIMITS.acceptance


def test_a_layer_loses_more_with_fewer_bits() -> None:
    model = models.qwen2()
    some = texts(model, 4)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    found = sensitivities(model, some, (8, 4, 3, 2, OUT), [text.ids for text in some])
    for losses in found:
        assert 0 <= losses[8].divergence < losses[4].divergence < losses[3].divergence < losses[2].divergence
        assert losses[8].changed <= losses[2].changed
        assert losses[2].divergence < 30 * losses[OUT].divergence
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


@pytest.fixture(scope="module")
def pair(whole: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pair that somebody has made."""
    folder = tmp_path_factory.mktemp("planned")
    prompts = folder / "prompts.txt"
    prompts.write_text("\n".join(PROMPTS))
    make_pair(
        Wish(target=str(whole), draft=None, text=str(prompts), context=256, anyway=True), folder / "mine", Silent()
    )
    return folder / "mine"


def profile(name: str, **changes: Any) -> DeviceProfile:
    return replace(read_profile("pi4"), name=name, **changes)


def test_a_plan_becomes_a_draft_that_devices_load(pair: Path) -> None:
    prompts = str(pair.parent / "prompts.txt")
    before = load_pair(str(pair))
    slow = profile("garden", layer_s=1e-9, weights_per_s={8: 1e6, 4: 2e6})
    made = make_plan(Order(text=prompts, context=128, loss=0.5), before, slow, Silent())
    after = load_pair(str(pair))
    assert set(after.drafts) == {"default", "garden"}
    assert after.drafts["default"] == before.drafts["default"]
    draft = chosen_draft(after, "garden")
    assert draft is not None
    assert OnnxDrafter(after.verify(draft.model)).context == 128
    assert draft.acceptance == round(made.acceptance, 4)
    assert made.bytes == draft.model.stat().st_size
    assert min(made.plan.bits) < 8  # so much loss is allowed, and multiplying takes all the time
    assert made.layer_bits < 8
    assert made.loss <= 0.5
    assert {**before.sha256}.items() <= after.sha256.items()
    with pytest.raises(PairError, match="has a draft 'garden' already"):
        make_plan(Order(text=prompts), after, profile("garden"), Silent())


def test_a_plan_that_does_not_fit_leaves_the_pair_as_it_was(pair: Path) -> None:
    before = (pair / "pair.toml").read_text()
    with pytest.raises(PairError, match="no draft of .* fits shed: 0 MB fit"):
        make_plan(
            Order(text=str(pair.parent / "prompts.txt")), load_pair(str(pair)), profile("shed", memory=1000), Silent()
        )
    assert (pair / "pair.toml").read_text() == before
    assert not list(pair.glob("plans/*shed*"))


def test_a_device_that_is_not_known_is_told_at_once(pair: Path) -> None:
    assert "there is no device profile 'toaster'; name one of " in said(run("plan", pair, "--device", "toaster"))
