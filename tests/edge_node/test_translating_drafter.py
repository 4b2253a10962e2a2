"""What a draft of another vocabulary writes, as the target's ids: nothing lost, nothing twice, no more work than there are new tokens."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_node.dialogue.tokenizer import ChatTokenizer, Turn
from edge_node.drafting.drafter import Guess, first_tokens
from edge_node.drafting.onnx_drafter import OnnxDrafter
from edge_node.drafting.translating_drafter import Writing, whole_characters
from edge_node.drafts import DraftModel, load_draft, load_drafter
from shared.errors import PairError
from shared.pair import Pair, load_pair
from shared.sampling_parameters import Sampling
from tests.edge_node.test_byte_vocabulary import texts
from tests.edge_node.test_translation import PAIRS, between
from tests.other_vocabulary import write_foreign_pair

REQUEST = "turn on the kitchen lights and set the bedroom to 20 degrees"


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return load_pair(str(write_foreign_pair(tmp_path_factory.mktemp("foreign"))))


@pytest.fixture(scope="module")
def tokenizer(pair: Pair) -> ChatTokenizer:
    return ChatTokenizer(pair)


@pytest.fixture
def model(pair: Pair, tokenizer: ChatTokenizer) -> DraftModel:
    return load_draft(pair, 1, tokenizer)


@given(text=texts, cut=st.integers(0, 3))
def test_a_character_that_has_only_begun_is_told_from_one_that_is_whole(text: str, cut: int) -> None:
    data = text.encode()
    data = data[: len(data) - cut]
    assert data[: whole_characters(data)].decode() == data.decode(errors="ignore")


@pytest.mark.parametrize(("target", "draft"), PAIRS)
@given(text=texts, cut=st.integers(0, 2))
def test_what_is_written_is_proposed_once_and_whole(target: str, draft: str, text: str, cut: int) -> None:
    translation = between(target, draft)
    data = text.encode()
    data = data[: len(data) - cut]
    written = translation.draft.encode(data)
    writing = Writing(translation, position=10)
    confidences = [0.5 + 0.4 / (place + 1) for place in range(len(written))]
    proposed: list[Guess] = []
    for token, confidence in zip(written, confidences, strict=True):
        proposed += writing.take(Guess(token, confidence, "model", runner_up=written[0]))
        said = b"".join(translation.target.bytes_of(guess.token) for guess in proposed)
        assert data.startswith(said)
    held = list(writing.rest())
    said = b"".join(translation.target.bytes_of(guess.token) for guess in [*proposed, *held])
    assert said == data[: whole_characters(data)]
    assert len(held) <= 1 or not said.isascii(), "one token at most is held back where characters are bytes"
    if said == data:
        assert prod(guess.confidence for guess in [*proposed, *held]) == pytest.approx(prod(confidences))
    assert all(guess.runner_up != guess.token for guess in [*proposed, *held])


@pytest.mark.parametrize(("target", "draft"), PAIRS)
def test_control_words_end_what_is_held_back(target: str, draft: str) -> None:
    translation = between(target, draft)
    writing = Writing(translation, position=0)
    proposed: list[int] = []
    end = translation.draft.words["<|end|>"]
    for token in [*translation.draft.encode(b"so the"), end]:
        assert not writing.ends_at(token)
        proposed += [guess.token for guess in writing.take(Guess(token, 1.0, "model"))]
    assert proposed[-1] == translation.target.words["<|end|>"]
    assert b"".join(map(translation.target.bytes_of, proposed)) == b"so the"
    unknown = [token for word, token in translation.draft.words.items() if word not in translation.target.words]
    assert all(map(writing.ends_at, unknown))


def test_rounds_take_about_as_many_steps_as_they_have_new_tokens(
    pair: Pair, tokenizer: ChatTokenizer, model: DraftModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    fed: list[int] = []
    feed = OnnxDrafter.feed

    def counting(drafter: OnnxDrafter, ids: Sequence[int]) -> object:
        fed.append(len(ids))
        return feed(drafter, ids)

    monkeypatch.setattr(OnnxDrafter, "feed", counting)
    drafter = model.speaker(model.graph)
    ids = tokenizer.prompt([Turn("user", REQUEST)])
    answer = first_tokens(drafter, ids, 60, Sampling())
    assert "HassTurnOn" in tokenizer.decode(answer)
    drafter = model.another().speaker(model.another().graph)
    first_tokens(drafter, ids, 1, Sampling())
    prompt, rounds = sum(fed), 0
    fed.clear()
    for at in range(0, 48, 6):
        assert first_tokens(drafter, [*ids, *answer[:at]], 5, Sampling()) == answer[at : at + 5]
        rounds += 1
    assert prompt > 2 * len(ids), "the draft has shorter tokens"
    own = len(model.own_ids([*ids, *answer[:48]])) - len(model.own_ids(ids))
    assert sum(fed) <= own + 2 * rounds


def test_confidence_and_second_choice_are_those_of_the_draft(tokenizer: ChatTokenizer, model: DraftModel) -> None:
    ids = tokenizer.prompt([Turn("user", REQUEST)])
    sampling = Sampling(1.0, seed=3)
    guesses = [guess for guess in model.speaker(model.graph).draft(ids, sampling) if guess is not None]
    assert guesses[-1].token in tokenizer.end_ids
    assert all(0 < guess.confidence <= 1 for guess in guesses)
    assert any(guess.confidence < 0.999 for guess in guesses)
    assert sum(guess.runner_up is not None for guess in guesses) > len(guesses) / 2


def test_a_draft_without_a_tokenizer_of_its_own_is_taken_as_it_is(pair: Pair, tokenizer: ChatTokenizer) -> None:
    home = load_pair("home")
    graph = load_drafter(home, 1, tokenizer)
    assert load_draft(home, 1, tokenizer).translation is None
    assert DraftModel(graph, None).speaker(graph) is graph
    with pytest.raises(PairError, match="the draft of 'foreign' has a tokenizer of its own"):
        load_drafter(pair, 1, tokenizer)


def test_a_text_of_nothing_that_the_draft_knows_has_no_drafts(model: DraftModel) -> None:
    drafter = model.speaker(model.graph)
    assert first_tokens(drafter, [2_000_000], 3, Sampling()) == ()
    with pytest.raises(ValueError, match="at least one committed id"):
        drafter.draft([], Sampling())
