"""A draft that is not what its pair's manifest promises, at a real hub: it is reported, left out, and answers stay the target's."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from edge_node.assembly import connected
from edge_node.dialogue.answer import Answer
from edge_node.dialogue.conversation import Conversation
from edge_node.dialogue.generation import Generation
from edge_node.dialogue.tokenizer import ChatTokenizer
from edge_node.doctor import examine
from edge_node.drafting.drift import drift_file
from edge_node.settings import DrafterKind, Mode
from shared.pair import load_pair
from tests.oracles import home_oracle
from tests.waiting import wait_until
from tools.rig.drafts import Extra, pair_with_drafts
from tools.rig.household import Household, running_service
from tools.rig.oracle import Oracle, Rule
from tools.rig.testbed import HubBed, running_hub

pytestmark = pytest.mark.slow  # a hub of its own

REQUESTS = (
    "turn on the kitchen lights and set the bedroom to 20 degrees",
    "Is the front door locked?",
    "add crisps and 3 limes to the shopping list",
)
MAX_TOKENS = 40
GREEDY = Rule(0.0, 0, 1.0, 0)
PROMISED = 0.95


def other_model() -> bytes:
    """A draft of the same form whose weights are random."""
    draft = load_pair("home").draft
    assert draft is not None
    graph = onnx.load(draft.model)
    rng = np.random.default_rng(0)
    for tensor in graph.graph.initializer:
        weights = numpy_helper.to_array(tensor)
        if weights.ndim == 2:
            tensor.CopyFrom(numpy_helper.from_array(rng.permuted(weights, axis=0), tensor.name))
    return bytes(graph.SerializeToString())


@pytest.fixture(scope="module")
def bed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubBed]:
    draft = load_pair("home").draft
    assert draft is not None
    drafts = {"wrong": Extra(other_model(), PROMISED), "good": Extra(draft.model.read_bytes(), PROMISED)}
    pair = pair_with_drafts(tmp_path_factory.mktemp("pairs") / "lamps", drafts)
    with running_hub(["pi"], str(pair.folder), ["--threads", "1", "--kv-memory", "64M"], homes=["house"]) as running:
        yield running


@pytest.fixture(scope="module")
def oracle() -> Oracle:
    return home_oracle()


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def exact_answers(node: Conversation, oracle: Oracle, rounds: int) -> list[Answer]:
    """The answers to all requests, so many times, each the target's own."""
    tokenizer = ChatTokenizer(load_pair("home"))
    answers = []
    for request in REQUESTS * rounds:
        node.clear()
        answers.append(Answer())
        for _ in node.ask(request, Generation(0.0, max_tokens=MAX_TOKENS), answers[-1]):
            pass
        prompt = tokenizer.prompt(node.turns[:-1])
        assert list(answers[-1].ids) == oracle.confirm(prompt, answers[-1].ids, GREEDY, MAX_TOKENS)
    return answers


@pytest.mark.parametrize("drafter", [DrafterKind.MODEL, DrafterKind.AUTO])
def test_a_wrong_draft_is_reported_and_left_out(
    bed: HubBed, oracle: Oracle, drafter: DrafterKind, caplog: pytest.LogCaptureFixture
) -> None:
    # Where drafting is chosen it goes on, and is reported.
    settings = bed.node("pi", draft="wrong", drafter=drafter, mode=Mode.SPECULATE)
    with connected(settings) as node:
        answers = exact_answers(node, oracle, 3)
        drift = node.loop.drift
        assert drift is not None
        assert drift.fallen
        assert drift.figures["acceptance"] < 0.3
        assert not node.loop.gate.leaves_out_model
        assert sum(answer.stats.drafted for answer in answers[-3:]) > 0
    warnings = [r.message for r in caplog.records if r.levelno == logging.WARNING and "promises 95%" in r.message]
    assert len(warnings) == 1
    assert drift.version in warnings[0]
    assert drift.version in json.loads(drift_file("lamps").read_text())
    # The next run knows of it, and leaves the model out.
    with connected(bed.node("pi", draft="wrong", drafter=drafter)) as node:
        assert node.loop.gate.leaves_out_model
        answers = exact_answers(node, oracle, 2)
        assert node.loop.drift is not None
        assert node.loop.drift.fallen
        if drafter is DrafterKind.MODEL:
            assert node.loop.gate.streams
            assert {answer.stats.mode for answer in answers} == {"stream"}
            assert sum(answer.stats.drafted for answer in answers) == 0


def test_a_node_that_chooses_by_itself_finds_out_beside_the_stream_and_so_does_one_whose_draft_is_back(
    bed: HubBed, oracle: Oracle
) -> None:
    with connected(bed.node("pi", draft="wrong")) as node:
        answers = exact_answers(node, oracle, 4)
        assert node.loop.drift is not None
        assert node.loop.drift.fallen
        assert node.loop.gate.streams
        assert sum(answer.stats.drafted for answer in answers[-3:]) == 0
    # As if the good draft had been wrong until now: another target was served, say.
    kept = json.loads(drift_file("lamps").read_text())
    good = load_pair(bed.pair).version_of(load_pair(bed.pair).drafts["good"])
    drift_file("lamps").write_text(json.dumps({good: next(iter(kept.values()))}))
    with connected(bed.node("pi", draft="good")) as node:
        drift = node.loop.drift
        assert drift is not None
        assert drift.fallen
        for _ in range(20):
            answers = exact_answers(node, oracle, 1)
            if not drift.fallen:
                break
            assert sum(answer.stats.drafted for answer in answers) == 0
        assert not drift.fallen
        assert not node.loop.gate.leaves_out_model


def test_a_good_draft_raises_no_alarm(bed: HubBed, oracle: Oracle, caplog: pytest.LogCaptureFixture) -> None:
    with connected(bed.node("pi", draft="good", mode=Mode.SPECULATE)) as node:
        exact_answers(node, oracle, 4)
        drift = node.loop.drift
        assert drift is not None
        assert drift.figures["tokens"] > 200
        assert drift.figures["acceptance"] > PROMISED - 0.05
        assert not drift.fallen
    assert "promises" not in caplog.text


def test_the_service_and_the_doctor_tell_of_it(bed: HubBed, tmp_path: Path) -> None:
    options = ["--pair", bed.pair, "--draft", "wrong", "--mode", "speculate"]
    with (
        running_service(bed.broker.settings("pi"), "pi", tmp_path / "log", options),
        closing(Household(bed.broker.settings("house"), "house", "pi")) as house,
    ):
        for request in REQUESTS:
            answer = house.answer(house.ask(request, temperature=0, max_tokens=MAX_TOKENS))
            assert answer["finish"] in {"end", "length"}
        wait_until(lambda: house.stats.get("draft", {}).get("fallen") is True)
        told = house.stats["draft"]
    assert told["version"].startswith("wrong:")
    assert told["promised"] == PROMISED
    assert told["acceptance"] < 0.3
    assert "its manifest promises 95%" in (tmp_path / "log").read_text()
    findings = {finding.topic: finding for finding in examine(bed.node("pi", draft="wrong"))}
    assert "sled-hub pair create" in findings["hub"].problem
    assert findings["hub"].figures["drift"]["fallen"]
    assert findings["hub"].figures["gate"] == "stream"
