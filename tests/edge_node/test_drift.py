"""A draft's acceptance beside what was promised: when a fall is reported, how often for nothing, what the gate does, and what is kept."""

from __future__ import annotations

import json
import random
from math import log
from pathlib import Path

import pytest

from edge_node.drafting import drift as rule
from edge_node.drafting.calibration import Calibration
from edge_node.drafting.drafter import Guess
from edge_node.drafting.drift import BROKEN, KEPT, Drift, drift_file
from edge_node.drafting.ngram import Cascade, NgramDrafter
from edge_node.rounds.lookahead import Lookahead
from edge_node.rounds.skill import DraftSkill
from shared.sampling_parameters import Sampling

VERSION = "default:0123456789abcdef"
GREEDY = Sampling()


def watched(promised: float | None = 0.95, file: Path | None = None) -> Drift:
    return Drift(VERSION, "model", promised, file)


def learn(drift: Drift, *, right: bool, greedy: bool = True, source: str = "model") -> None:
    drift.learn(Guess(1, 0.9, source), 1 if right else 2, greedy=greedy)


def tokens_until(drift: Drift, acceptance: float, rng: random.Random, *, fallen: bool, most: int) -> int | None:
    """How many tokens that are right with that chance it takes until the acceptance counts as fallen, or as back."""
    for count in range(1, most + 1):
        learn(drift, right=rng.random() < acceptance)
        if drift.fallen is fallen:
            return count
    return None


@pytest.mark.parametrize("promised", [0.95, 0.6])
def test_false_alarms_are_as_rare_as_it_says(promised: float, monkeypatch: pytest.MonkeyPatch) -> None:
    tokens, odds = 200_000, 1e3
    monkeypatch.setattr(rule, "_FALL", log(odds))
    rng = random.Random(1)
    alarms, left = 0, tokens
    while (took := tokens_until(watched(promised), promised - KEPT, rng, fallen=True, most=left)) is not None:
        alarms, left = alarms + 1, left - took
    assert 0 < alarms <= tokens / odds


def test_a_good_draft_never_alarms() -> None:
    assert tokens_until(watched(0.95), 0.95, random.Random(2), fallen=True, most=300_000) is None
    assert tokens_until(watched(0.95), 0.95 - KEPT, random.Random(3), fallen=True, most=100_000) is None


@pytest.mark.parametrize(("acceptance", "within"), [(0.6, 150), (0.3, 60), (0.0, 16), (0.95 - BROKEN, 900)])
def test_a_fall_is_seen_soon(acceptance: float, within: int) -> None:
    for seed in range(200):
        rng = random.Random(seed)
        drift = watched(0.95)
        assert tokens_until(drift, 0.95, rng, fallen=True, most=500) is None
        assert tokens_until(drift, acceptance, rng, fallen=True, most=within) is not None, seed


def test_a_fall_is_told_once_with_both_figures_and_so_is_its_end(caplog: pytest.LogCaptureFixture) -> None:
    drift, rng = watched(0.95), random.Random(4)
    assert not drift.problem
    assert tokens_until(drift, 0.6, rng, fallen=True, most=200)
    for _ in range(500):
        learn(drift, right=rng.random() < 0.6)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert VERSION in caplog.text
    assert "its manifest promises 95%" in caplog.text
    assert "sled-node pull" in drift.problem
    assert drift.figures["acceptance"] == pytest.approx(0.6, abs=0.1)
    took = tokens_until(drift, 0.95, rng, fallen=False, most=400)
    assert took is not None
    assert "is back" in caplog.records[-1].message
    assert drift.figures["acceptance"] > 0.85, "the tokens before it are of another time"


def test_only_the_models_greedy_tokens_are_compared_with_the_promise() -> None:
    drift = watched(0.95)
    for _ in range(1000):
        learn(drift, right=False, greedy=False)
        learn(drift, right=False, source="ngram")
        learn(drift, right=False, source="before")
    figures = drift.figures
    assert (figures["fallen"], figures["acceptance"], figures["tokens"]) == (False, None, 0)
    assert (figures["acceptance_sampled"], figures["tokens_sampled"]) == (0.0, 1000)


@pytest.mark.parametrize("promised", [None, 0.1])
def test_without_a_promise_that_can_be_broken_it_counts_alone(promised: float | None) -> None:
    drift = watched(promised)
    for _ in range(1000):
        learn(drift, right=False)
    assert not drift.fallen
    assert drift.figures["acceptance"] == 0.0


def test_a_verdict_tells_of_what_was_accepted_and_of_one_that_was_refuted() -> None:
    class Fixed:
        context = 1000

        def draft(self, ids: object, sampling: object) -> object:
            return iter([Guess(token, 0.9, "model") for token in (5, 6, 7, 8)])

    drift = watched()
    lookahead = Lookahead(Fixed(), Calibration(), DraftSkill(), drift=drift)  # type: ignore[arg-type]
    lookahead.begin((1, 2), GREEDY)
    for _ in range(4):
        lookahead.grow()
    lookahead.take_block(4)
    lookahead.settle((1, 2, 5, 6, 9), 3)
    assert drift.figures["tokens"] == 3, "nothing is known of the fourth"
    assert drift.figures["acceptance"] == pytest.approx(0.667)


class Model:
    """Counts how often it is asked."""

    context = 1000

    def __init__(self) -> None:
        self.asked = 0

    def draft(self, ids: object, sampling: object) -> object:
        self.asked += 1
        return iter([Guess(3, 0.9, "model")])


def test_where_n_grams_go_on_alone_the_model_is_tried_now_and_then() -> None:
    model, fallen = Model(), True
    cascade = Cascade(NgramDrafter(), model, Calibration(), "model", lambda: fallen)  # type: ignore[arg-type]
    for _ in range(64):
        list(cascade.draft((1, 2, 3), GREEDY))
    assert model.asked == 8
    found = [guess.source for guess in (next(iter(cascade.draft((7, 8, 7, 8), GREEDY))),) if guess]
    assert found == ["ngram"]
    fallen = False
    assert [guess.source for guess in cascade.draft((1, 2, 3), GREEDY) if guess] == ["model"]


def test_it_is_kept_by_version_from_run_to_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    file = drift_file("lamps")
    assert file.is_relative_to(tmp_path)
    first = watched(0.95, file)
    assert tokens_until(first, 0.3, random.Random(5), fallen=True, most=200)
    learn(first, right=True, greedy=False)
    first.save()
    again = watched(0.95, file)
    assert again.fallen
    assert again.figures == first.figures
    assert not watched(0.3, file).fallen, "another promise is another matter"
    for number in range(20):
        Drift(f"pi:{number}", "model", 0.9, file).save()
    assert len(json.loads(file.read_text())) == 16
    assert not watched(0.95, file).fallen, "it was the oldest"
    assert [each.name for each in file.parent.iterdir()] == [file.name], "nothing is left beside"


GOOD = {"promised": 0.95, "fallen": True, "score": 0.0, "since": [0, 0], "greedy": [0.5, 9], "sampled": [0.5, 9]}


@pytest.mark.parametrize(
    "changed",
    [
        {"score": "NaN"},
        {"score": 1e9},
        {"greedy": [2.0, 1]},
        {"sampled": [0.5]},
        {"since": [3, 2]},
        {"greedy": None},
        {"since": "ab"},
    ],
)
def test_a_file_of_something_else_is_passed_over(
    tmp_path: Path, changed: dict[str, object], caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "acceptance.json"
    file.write_text(json.dumps({VERSION: GOOD}))
    assert watched(0.95, file).fallen
    file.write_text(json.dumps({VERSION: {**GOOD, **changed}}))
    assert not watched(0.95, file).fallen
    assert "is not read from" in caplog.text
