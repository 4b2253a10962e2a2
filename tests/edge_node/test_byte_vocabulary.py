"""Tokens as bytes: nothing is lost on the way to ids and back, whatever the tokenizer does to texts otherwise."""

from __future__ import annotations

from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from edge_node.drafting.byte_vocabulary import ByteVocabulary
from shared.errors import PairError
from shared.pair import load_pair
from tests.edge_node.tokenizers_of_many_kinds import KINDS, PLAIN, SPECIAL

ALL = [*KINDS, "home"]
AS_IT_IS = ["gpt", "spaces", "whole_words", "home"]  # those that neither change a text nor put something in front of it
ODD = [
    *SPECIAL,
    *PLAIN,
    "▁",
    " ",
    "  ",
    "\n\n",
    "é",
    "e\u0301",
    "你好",
    "👩\u200d🚀",
    "🇳🇴",
    "the answer",
    "\u00a0",
    "\u2028",
]
texts = st.lists(st.one_of(st.sampled_from(ODD), st.text(max_size=6)), max_size=8).map("".join)
bytes_of_any_kind = st.one_of(
    st.binary(max_size=24),
    texts.map(str.encode),
    st.tuples(texts.map(str.encode), st.integers(0, 9), st.integers(0, 9)).map(
        lambda cut: cut[0][cut[1] :][: -cut[2] or None]
    ),
)


@cache
def tokenizer(kind: str) -> Tokenizer:
    return Tokenizer.from_file(str(load_pair("home").tokenizer)) if kind == "home" else KINDS[kind]()


@cache
def vocabulary(kind: str) -> ByteVocabulary:
    return ByteVocabulary(tokenizer(kind), kind)


@pytest.mark.parametrize("kind", ALL)
@given(data=bytes_of_any_kind)
def test_the_ids_of_any_bytes_stand_for_them(kind: str, data: bytes) -> None:
    known = vocabulary(kind)
    assert b"".join(map(known.bytes_of, known.encode(data))) == data


@pytest.mark.parametrize("kind", AS_IT_IS)
@given(text=texts)
def test_ids_are_those_of_the_tokenizer(kind: str, text: str) -> None:
    for word in SPECIAL:  # which are text here, and no control words
        text = text.replace(word, "")
    ids = tokenizer(kind).encode(text, add_special_tokens=False).ids
    assert vocabulary(kind).encode(text.encode()) == ids
    assert b"".join(map(vocabulary(kind).bytes_of, ids)).decode() == tokenizer(kind).decode(ids)


@pytest.mark.parametrize("kind", ALL)
def test_each_id_has_the_bytes_that_its_decoder_gives(kind: str) -> None:
    known = vocabulary(kind)
    letter = known.id_of(b"e")
    assert letter is not None
    for token in range(known.size):
        piece = tokenizer(kind).id_to_token(token)
        if piece is None or piece in known.words:
            assert known.bytes_of(token) == b""
            continue
        around = tokenizer(kind).decode([letter, token, letter], skip_special_tokens=False)
        data = b"e" + known.bytes_of(token) + b"e"
        assert around.replace("▁", " ").replace(" ", "") == data.decode(errors="replace").replace(" ", "")
    assert [known.bytes_of(token) for token in (-1, known.size)] == [b"", b""]


@pytest.mark.parametrize("kind", ALL)
def test_control_words_have_no_bytes_and_others_that_were_added_are_text(kind: str) -> None:
    known = vocabulary(kind)
    for word, token in known.words.items():
        assert token == tokenizer(kind).token_to_id(word)
        assert known.bytes_of(token) == b""
        assert token not in known.encode(word.encode())
    if kind != "home":
        for word in PLAIN:
            assert known.bytes_of(tokenizer(kind).token_to_id(word)) == word.encode()
    if kind == "holes":
        assert known.encode(b"a<think>b")[1:-1] == [tokenizer(kind).token_to_id("<think>")]


def test_bytes_that_have_no_token_are_left_out() -> None:
    few = Tokenizer(models.BPE(vocab={"a": 0, "b": 1, "ab": 2}, merges=[("a", "b")]))
    few.pre_tokenizer, few.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    assert ByteVocabulary(few, "few").encode("abcab\u00e9ba".encode()) == [2, 2, 1, 0]


def test_a_tokenizer_with_ids_out_of_all_proportion_is_refused() -> None:
    far = Tokenizer(models.BPE(vocab={"a": 0, "b": 2**30}, merges=[]))
    far.decoder = decoders.ByteLevel()
    with pytest.raises(PairError, match="has ids up to 1073741824; 1048575 is the most"):
        ByteVocabulary(far, "far")


def test_a_tokenizer_whose_tokens_have_no_bytes_is_refused() -> None:
    pieces = Tokenizer(models.WordPiece({"[UNK]": 0, "un": 1, "##der": 2}, unk_token="[UNK]"))
    pieces.decoder = decoders.WordPiece()
    with pytest.raises(PairError, match=r"draft\.json is neither a byte-level tokenizer nor one of SentencePiece"):
        ByteVocabulary(pieces, "draft.json")
