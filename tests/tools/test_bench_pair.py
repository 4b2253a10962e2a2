"""The arithmetic of the pair's benchmark: errors counted by call and argument, and what a coupling could reach."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from edge_node.dialogue.answer import Answer
from edge_node.dialogue.tokenizer import ChatTokenizer, Turn
from edge_node.drafting.drafter import first_tokens
from edge_node.drafts import load_drafter
from edge_node.rounds.round_stats import RoundStats
from shared.pair import load_pair
from shared.sampling import draw
from shared.sampling_parameters import Sampling
from tools.bench.asking import drawn
from tools.bench.confusion import NOTHING, UNREADABLE, Confusion, calls_of, right
from tools.bench.coupling import Coupling, judged, overlap, probabilities
from tools.home.data.invent import HELD_OUT

Call = tuple[str, dict[str, Any]]
ON: Call = ("On", {"area": "hall", "domain": "light"})
TIMER: Call = ("Timer", {"minutes": 5})
STOP: Call = ("Stop", {})


def written(*calls: Call, say: str = "Done.") -> str:
    return "\n".join([*(json.dumps({"name": n, "arguments": a}) for n, a in calls), say])


def test_right_is_the_calls_and_their_order() -> None:
    assert right(written(ON, TIMER), [ON, TIMER])
    assert right("Sorry, I can't do that.", [])
    assert not right(written(TIMER, ON), [ON, TIMER])
    assert not right(written(ON, TIMER), [ON])
    assert not right(written(("On", {"area": "hall"})), [ON])
    assert not right("Done.", [ON])


@pytest.mark.parametrize(
    "line", ['{"name":"On"', '{"name":"On"}', '{"name":"On","arguments":3}', '{"name":"On","arguments":{},"more":1}']
)
def test_a_line_that_is_no_call_spoils_the_answer(line: str) -> None:
    assert calls_of(f"{line}\nDone.") is None
    assert not right(f"{line}\nDone.", [])


@pytest.mark.parametrize(
    ("expected", "text", "names", "slots"),
    [
        ([ON, TIMER], written(ON, TIMER), {}, {}),
        ([ON], written(STOP), {("On", "Stop"): 1}, {}),
        ([ON], written(("On", {"area": "den", "name": "lamp"})), {("On", "On"): 1},
         {("area", "wrong"): 1, ("domain", "missing"): 1, ("name", "extra"): 1}),
        ([ON, TIMER], written(TIMER), {("On", NOTHING): 1}, {}),
        ([ON], written(STOP, ON), {(NOTHING, "Stop"): 1}, {}),
        ([ON, TIMER, STOP], written(ON, ("Timer", {"minutes": 6}), STOP), {("Timer", "Timer"): 1},
         {("minutes", "wrong"): 1}),
        ([], written(ON), {(NOTHING, "On"): 1}, {}),
        ([ON, STOP], "{oops", {("On", UNREADABLE): 1, ("Stop", UNREADABLE): 1}, {}),
        ([], "{oops", {(NOTHING, UNREADABLE): 1}, {}),
    ],
)  # fmt: skip
def test_counts_what_is_wrong(
    expected: Sequence[Call], text: str, names: dict[tuple[str, str], int], slots: dict[tuple[str, str], int]
) -> None:
    assert Confusion.of([(expected, text)]) == Confusion(Counter(names), Counter(slots))


def test_the_most_frequent_come_first() -> None:
    answers = [([ON], written(STOP)), ([TIMER], written(("Timer", {}))), ([ON], written(STOP)), ([STOP], "Done.")]
    confusion = Confusion.of(answers)
    assert confusion.as_json()[0] == {"expected": "On", "got": "Stop", "count": 2}
    assert len(confusion.as_json()) == 3
    assert confusion.slots_as_json() == {"minutes": {"missing": 1, "extra": 0, "wrong": 0}}


def test_overlap_of_known_distributions() -> None:
    p = np.array([[0.5, 0.5, 0.0], [0.2, 0.3, 0.5], [1.0, 0.0, 0.0]])
    q = np.array([[0.5, 0.5, 0.0], [0.5, 0.3, 0.2], [0.0, 0.4, 0.6]])
    np.testing.assert_allclose(overlap(p, q), [1.0, 0.7, 0.0])


def test_probabilities_after_temperature_and_filters() -> None:
    logits = np.log(np.array([[0.1, 0.4, 0.2, 0.2, 0.1]], dtype=np.float32))
    np.testing.assert_allclose(probabilities(logits, Sampling(1.0)), [[0.1, 0.4, 0.2, 0.2, 0.1]], rtol=1e-6)
    squared = np.array([[0.01, 0.16, 0.04, 0.04, 0.01]])
    np.testing.assert_allclose(probabilities(logits, Sampling(0.5)), squared / squared.sum(), rtol=1e-6)
    np.testing.assert_allclose(probabilities(logits, Sampling(1.0, top_k=2)), [[0, 2 / 3, 1 / 3, 0, 0]], rtol=1e-6)
    np.testing.assert_allclose(probabilities(logits, Sampling(1.0, top_p=0.5)), [[0, 2 / 3, 1 / 3, 0, 0]], rtol=1e-6)
    top_k_first = probabilities(logits, Sampling(1.0, top_k=3, top_p=0.7))
    np.testing.assert_allclose(top_k_first, [[0, 2 / 3, 1 / 3, 0, 0]], rtol=1e-6)


@pytest.mark.parametrize("sampling", [Sampling(0.8), Sampling(0.8, top_k=3), Sampling(1.5, top_p=0.6)])
def test_probabilities_are_those_of_the_rule(sampling: Sampling) -> None:
    logits = np.random.default_rng(3).normal(size=8).astype(np.float32)
    drawn = np.bincount([draw(logits, sampling, position) for position in range(8000)], minlength=8) / 8000
    np.testing.assert_allclose(drawn, probabilities(logits[None], sampling)[0], atol=0.03)


def test_judged_places_are_those_that_acceptance_counts() -> None:
    # id 0 is the target's own; 1 and 2 accepted, 3 rejected; 4 to 7 a whole block, 8 behind it; 9 and 10 accepted, end.
    stats = RoundStats(accepted_by_round=[2, 4, 2])
    assert judged(Answer(ids=tuple(range(11)), stats=stats), 4) == [1, 2, 3, 4, 5, 6, 7, 9, 10]
    assert judged(Answer(ids=(5,)), 4) == []


def test_target_and_draft_stand_side_by_side() -> None:
    pair = load_pair("home")
    tokenizer = ChatTokenizer(pair)
    drafter = load_drafter(pair, 1, tokenizer)
    prompt = tokenizer.prompt([Turn("user", "turn on the kitchen lights")])
    answer = first_tokens(drafter, prompt, 12, Sampling())
    places = [1, 2, 5, 6, 7]
    best = Coupling(pair.target, drafter).best(prompt, answer, places, Sampling(0.8))
    target = AutoModelForCausalLM.from_pretrained(pair.target, dtype=torch.float32).eval()
    for place, found in zip(places, best, strict=True):
        ids = [*prompt, *answer[:place]]
        drafter.rewind(0)
        with torch.no_grad():
            p = target(input_ids=torch.tensor([ids])).logits[0, -1].double().div(0.8).softmax(-1).numpy()
        q = torch.from_numpy(drafter.feed(ids).copy()).double().div(0.8).softmax(-1).numpy()
        assert found == pytest.approx(1 - np.abs(p - q).sum() / 2, abs=1e-4)


def test_draws_as_many_requests_as_asked() -> None:
    dialogues = drawn(37, HELD_OUT, seed=1)
    assert sum(len(dialogue.exchanges) for dialogue in dialogues) == 37
    assert all(dialogue.exchanges for dialogue in dialogues)
    assert dialogues == drawn(37, HELD_OUT, seed=1)
