"""A draft model under a grammar: it proposes nothing that may not come, and computes nothing that must."""

from __future__ import annotations

from itertools import islice
from typing import Any

import pytest

from edge_node.dialogue.tokenizer import ChatTokenizer
from edge_node.drafting.guided_drafter import SOURCE, GuidedDrafter
from edge_node.drafting.onnx_drafter import OnnxDrafter
from edge_node.drafts import load_drafter
from shared.grammar import Grammar
from shared.guide import CompiledGrammar, guides_of
from shared.sampling import draw
from shared.sampling_parameters import Sampling
from tests.guided import PAIR, ids_of, masks_of
from tools.bench.constrained import SCHEMAS

TOKENIZER = ChatTokenizer(PAIR)
PROMPT = ids_of("<|user|>turn on the kitchen lights<|end|><|assistant|>")
MAKER = guides_of(PAIR, TOKENIZER.vocab_size, TOKENIZER.end_ids)


@pytest.fixture(scope="module")
def graph() -> OnnxDrafter:
    return load_drafter(PAIR, 1, TOKENIZER)


def guided(graph: OnnxDrafter, number: int) -> tuple[GuidedDrafter, CompiledGrammar, Sampling]:
    assert MAKER is not None
    compiled = MAKER.compile(Grammar.of_schema(SCHEMAS[number]))
    drafter = GuidedDrafter(graph, TOKENIZER.end_ids)
    drafter.keep_to(compiled)
    return drafter, compiled, Sampling(1.0, seed=3, grammar=compiled.digest, grammar_from=len(PROMPT))


@pytest.mark.parametrize("number", range(len(SCHEMAS)))
def test_drafts_keep_to_the_grammar_to_the_end(graph: OnnxDrafter, number: int) -> None:
    drafter, _, sampling = guided(graph, number)
    mask, ids = masks_of(SCHEMAS[number]), list[int]()
    for guess in drafter.draft(PROMPT, sampling):
        if guess is None:
            continue
        may_come = mask.allowed(ids)
        assert may_come[guess.token]
        assert guess.runner_up is None or may_come[guess.runner_up]
        if guess.source == SOURCE:
            assert guess.confidence == 1.0
        ids.append(guess.token)
    assert ids[-1] in TOKENIZER.end_ids


def test_what_is_certain_is_not_computed(graph: OnnxDrafter, monkeypatch: pytest.MonkeyPatch) -> None:
    drafter, _, sampling = guided(graph, 0)
    drawn: list[int] = []

    def counted(logits: Any, sampling: Sampling, position: int) -> int:
        drawn.append(position)
        return draw(logits, sampling, position)

    monkeypatch.setattr("edge_node.drafting.guided_drafter.draw", counted)
    guesses = [guess for guess in drafter.draft(PROMPT, sampling) if guess is not None]
    computed = [len(PROMPT) + place for place, guess in enumerate(guesses) if guess.source != SOURCE]
    assert sorted(set(drawn)) == computed
    assert len(computed) < len(guesses) / 2


def test_several_drafts_of_one_answer_go_on_in_turn(graph: OnnxDrafter) -> None:
    drafter, _, sampling = guided(graph, 2)
    alone = [guess.token for guess in drafter.draft(PROMPT, sampling) if guess is not None]
    first, second = drafter.draft(PROMPT, sampling), drafter.draft([*PROMPT, *alone[:4]], sampling)
    one, two = list[int](), list[int]()
    for _ in range(400):
        one += (guess.token for guess in islice(first, 1) if guess is not None)
        two += (guess.token for guess in islice(second, 1) if guess is not None)
    assert (one, two) == (alone, alone[4:])


def test_a_text_that_left_the_grammar_is_not_gone_on_with(graph: OnnxDrafter) -> None:
    drafter, _, sampling = guided(graph, 0)
    ended = ids_of('{"room": "hall", "on": true, "percent": 7}<|end|>')
    for text in (ids_of("hello"), ended, [*ended, 7]):
        assert [guess for guess in drafter.draft([*PROMPT, *text], sampling) if guess is not None] == []


def test_without_a_grammar_it_is_the_model(graph: OnnxDrafter) -> None:
    drafter, _, sampling = guided(graph, 0)
    free = Sampling(sampling.temperature, seed=sampling.seed)
    told = [guess.token for guess in drafter.draft(PROMPT, free) if guess is not None]
    drafter.keep_to(None)
    assert told == [guess.token for guess in drafter.draft(PROMPT, free) if guess is not None]
    assert told == [guess.token for guess in graph.draft(PROMPT, free) if guess is not None]
