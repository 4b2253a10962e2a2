"""A draft of another vocabulary through a real hub: the target's text, and drafts that are often right."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_node.assembly import connected
from edge_node.dialogue.answer import Answer
from edge_node.dialogue.generation import Generation
from edge_node.dialogue.tokenizer import ChatTokenizer
from edge_node.drafting import prefix_drafter
from edge_node.settings import DrafterKind, Mode, Policy
from shared.pair import load_pair
from tests.oracles import home_oracle
from tests.other_vocabulary import write_foreign_pair
from tools.rig.oracle import Oracle, Rule
from tools.rig.testbed import HubBed, running_hub

pytestmark = pytest.mark.slow  # a hub of its own

REQUESTS = (
    "turn on the kitchen lights and set the bedroom to 20 degrees",
    "Is the front door locked?",
    "add crème brûlée 🍮 and 3 limes to the shopping list",
)
MAX_TOKENS = 60


@pytest.fixture(scope="module")
def bed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubBed]:
    folder = write_foreign_pair(tmp_path_factory.mktemp("foreign"))
    with running_hub(["pi"], str(folder)) as running:
        yield running


@pytest.fixture(scope="module")
def oracle() -> Oracle:
    return home_oracle()


@pytest.mark.parametrize(
    ("rule", "least"),
    [(Rule(0.0, 0, 1.0, 0), 0.6), (Rule(0.9, 0, 1.0, 7), 0.4), (Rule(1.2, 40, 0.9, 8), 0.4)],
)
@pytest.mark.parametrize("drafter", [DrafterKind.MODEL, DrafterKind.AUTO])
@pytest.mark.parametrize("ahead", [False, True])
def test_answers_are_the_targets_and_most_drafts_are_right(
    bed: HubBed, oracle: Oracle, rule: Rule, least: float, drafter: DrafterKind, ahead: bool
) -> None:
    tokenizer = ChatTokenizer(load_pair("home"))
    settings = bed.node("pi", mode=Mode.SPECULATE, policy=Policy.FIXED, draft_length=6, drafter=drafter, ahead=ahead)
    generation = Generation(rule.temperature, rule.top_k, rule.top_p, seed=rule.seed, max_tokens=MAX_TOKENS)
    accepted = rejected = 0
    with connected(settings) as node:
        for request in REQUESTS:  # one chat: the turns before stand in the prompt
            answer = Answer()
            for _ in node.ask(request, generation, answer):
                pass
            prompt = tokenizer.prompt(node.turns[:-1])
            assert list(answer.ids) == oracle.confirm(prompt, answer.ids, rule, MAX_TOKENS)
            accepted, rejected = accepted + answer.stats.accepted, rejected + answer.stats.rejected
    assert accepted / (accepted + rejected) > least


def test_a_draft_as_its_own_tokens_is_kept_on_disk(
    bed: HubBed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(prefix_drafter, "_LEAST_S", 0.0)
    monkeypatch.setattr(prefix_drafter, "_DISK", 1e18)
    texts, accepted = [], []
    with caplog.at_level(logging.INFO):
        for _ in range(2):
            with connected(bed.node("pi", mode=Mode.SPECULATE), "Areas: kitchen, bedroom, hall, attic, den") as node:
                answer = Answer()
                texts.append("".join(node.ask(REQUESTS[0], Generation(0.0, max_tokens=30), answer)))
                accepted.append(answer.stats.accepted)
    assert texts[0] == texts[1]
    assert "are kept on disk" in caplog.text
    assert "ids were on disk" in caplog.text
    assert min(accepted) > 5
