"""Trains the tokenizer of the built-in pair: byte-level BPE in which a space is a token of its own.

A word then has the same tokens behind a space, behind a quote and at the start of a sentence, so that copying a name
from the request into a call is copying tokens, which very small models can learn for words they have never seen.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from tools.home.data.generate import dialogue
from tools.home.data.invent import Source

PAD, END, SYSTEM, USER, ASSISTANT = SPECIAL = ["<|pad|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>"]
_PIECES = r"\p{L}+(?:'\p{L}+)?|\d| |\n|[^\p{L}\d\s]+|\s"


def train_tokenizer(vocab_size: int, dialogues: int, seed: int) -> Tokenizer:
    """A tokenizer of `vocab_size` ids trained on `dialogues` of the generator; all 256 bytes are in it, so any text encodes."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_PIECES), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=SPECIAL,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_texts(dialogues, seed), trainer)
    return tokenizer


def _texts(dialogues: int, seed: int) -> Iterator[str]:
    rng = random.Random(seed)
    for _ in range(dialogues):
        drawn = dialogue(rng, Source("train", invented=0.15))
        if drawn.system is not None:
            yield drawn.system
        for exchange in drawn.exchanges:
            yield exchange.request
            yield exchange.answer
