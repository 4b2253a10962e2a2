"""From the target's ids to the draft's: whole, as it grows, and drawn by the target's noise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_node.drafting.translation import TranslatedText, Translation
from shared.errors import PairError
from shared.sampling import draw
from shared.sampling_parameters import Sampling
from tests.edge_node.test_byte_vocabulary import ODD, vocabulary

PAIRS = [
    ("gpt", "llama"),
    ("llama", "gpt"),
    ("home", "gpt"),
    ("gpt", "home"),
    ("unigram", "spaces"),
    ("home", "unigram_first"),
]
WORDS = {"<|end|>": "</s>"}
pieces = st.one_of(st.sampled_from([*ODD, " turn on the lights in the kitchen, please", " yes"]), st.text(max_size=5))


def between(target: str, draft: str) -> Translation:
    return Translation(vocabulary(target), vocabulary(draft), {})


@st.composite
def edited_texts(draw: st.DrawFn, target: str) -> list[list[int]]:
    """A text of the target that grows at its end, and is cut and goes on otherwise."""
    known = vocabulary(target)
    ids: list[int] = []
    seen = []
    for _ in range(draw(st.integers(1, 6))):
        ids = ids[: draw(st.integers(0, len(ids)))] if draw(st.booleans()) else ids
        spelled = known.encode("".join(draw(st.lists(pieces, max_size=6))).encode())
        ids = [*ids, *spelled, *draw(st.lists(st.integers(0, known.size - 1), max_size=2))]
        seen.append(ids)
    return seen


@pytest.mark.parametrize(("target", "draft"), PAIRS)
@given(data=st.data())
def test_a_text_that_grows_is_what_it_is_as_a_whole(target: str, draft: str, data: st.DataObject) -> None:
    translation = between(target, draft)
    text = TranslatedText(translation)
    for ids in data.draw(edited_texts(target)):
        translated = text.follow(ids)
        assert translated == TranslatedText(translation).follow(ids)
        parts: list[bytes] = [b""]
        for token in ids:  # a control word, or an id that there is not, parts what is around it
            data_of = translation.target.bytes_of(token)
            parts[-1] += data_of
            parts += [] if data_of else [b""]
        words = [translation.words.get(token) for token in ids if not translation.target.bytes_of(token)]
        expected = list(translation.draft.encode(parts[0]))
        for word, part in zip(words, parts[1:], strict=True):
            expected += [*([] if word is None else [word]), *translation.draft.encode(part)]
        assert translated == expected, "it is cut only where that makes no difference"


def test_control_words_go_by_their_names_or_by_the_manifest() -> None:
    gpt, home = vocabulary("gpt"), vocabulary("home")
    user, end, start = (gpt.words[word] for word in ("<|user|>", "<|end|>", "<s>"))
    own = Translation(gpt, home, {})
    assert TranslatedText(own).follow([user, end, start]) == [home.words["<|user|>"], home.words["<|end|>"]]
    assert own.ends({end, user + 100}) == {home.words["<|end|>"]}
    named = Translation(home, gpt, WORDS)
    assert TranslatedText(named).follow([home.words["<|end|>"]]) == [gpt.words["</s>"]]
    assert named.same(gpt.words["</s>"]) == home.words["<|end|>"]
    assert named.same(gpt.words["<s>"]) is None
    with pytest.raises(PairError, match="the target's tokenizer has no control word '<turn>'"):
        Translation(gpt, home, {"<turn>": "<|user|>"})
    with pytest.raises(PairError, match="the draft's tokenizer has no control word '<turn>'"):
        Translation(gpt, home, {"<|user|>": "<turn>"})


@pytest.mark.parametrize(("target", "draft"), PAIRS)
def test_ids_are_the_same_where_bytes_are(target: str, draft: str) -> None:
    translation = between(target, draft)
    assert len(set(translation.to_target.tolist())) == translation.draft.size, "no two share a number, and so noise"
    matched = 0
    for token in range(translation.draft.size):
        same, data = translation.same(token), translation.draft.bytes_of(token)
        if same is not None and data:
            matched += 1
            assert translation.target.bytes_of(same) == data
        elif data and translation.draft.id_of(data) == token:
            assert translation.target.id_of(data) is None
    assert matched > 20


@pytest.mark.parametrize("sampling", [Sampling(), Sampling(0.8, seed=3), Sampling(1.1, 30, 0.9, seed=4)])
def test_a_draft_with_the_targets_logits_draws_the_targets_tokens(sampling: Sampling) -> None:
    translation = between("gpt", "home")
    common = np.flatnonzero(translation.to_target < translation.target.size)
    rng = np.random.default_rng(0)
    drawn = []
    for position in range(60):
        target = np.full(translation.target.size, -np.inf, np.float32)
        own = np.full(translation.draft.size, -np.inf, np.float32)
        own[common] = rng.normal(size=len(common)) * 3
        target[translation.to_target[common]] = own[common]
        drawn.append(translation.draw(own, sampling, position))
        assert translation.same(drawn[-1]) == draw(target, sampling, position)
    assert len(set(drawn)) > 20


def test_ids_of_the_draft_alone_are_drawn_as_often_as_their_chance_is() -> None:
    translation = between("gpt", "home")
    alone = int(np.flatnonzero(translation.to_target >= translation.target.size)[5])
    logits = np.full(translation.draft.size, -np.inf, np.float32)
    logits[[alone, int(np.flatnonzero(translation.to_target < translation.target.size)[5])]] = 0.0
    drawn = [translation.draw(logits, Sampling(1.0, seed=1), position) for position in range(2000)]
    assert 900 < drawn.count(alone) < 1100
