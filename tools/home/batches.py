"""Training batches for the built-in pair: conversations as token ids, the answers marked, similar lengths together."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from tokenizers import Tokenizer

from tools.home.generate import Exchange, conversation
from tools.home.tokenizer import ASSISTANT, END, USER
from tools.home.values import Source

_POOL = 1024  # conversations that are sorted by length together


@dataclass(frozen=True)
class Batch:
    """`ids` [rows, length] padded with 0 at the end; `answer` [rows, length - 1] is true where the next id is learnt."""

    ids: torch.Tensor
    answer: torch.Tensor


def encode(tokenizer: Tokenizer, turns: list[Exchange]) -> tuple[list[int], list[bool]]:
    """The ids of a conversation as the chat template renders it, and for each id whether the assistant wrote it."""
    ids: list[int] = []
    learnt: list[bool] = []
    for turn in turns:
        asked = tokenizer.encode(f"{USER}{turn.request}{END}{ASSISTANT}", add_special_tokens=False).ids
        answered = tokenizer.encode(f"{turn.answer}{END}", add_special_tokens=False).ids
        ids += asked + answered
        learnt += [False] * len(asked) + [True] * len(answered)
    return ids, learnt


def batches(tokenizer: Tokenizer, tokens_per_batch: int, max_length: int, seed: int) -> Iterator[Batch]:
    """An endless stream of batches of at most `tokens_per_batch` ids, padding included."""
    rng = random.Random(seed)
    source = Source(
        "train", pieces=tuple(sorted(t for t in tokenizer.get_vocab() if t.isascii() and t.isalpha() and t.islower()))
    )
    while True:
        pool = [encode(tokenizer, conversation(rng, source)) for _ in range(_POOL)]
        pool = sorted((c for c in pool if len(c[0]) <= max_length), key=lambda c: len(c[0]))
        groups: list[list[tuple[list[int], list[bool]]]] = [[]]
        for ids, learnt in pool:
            if (len(groups[-1]) + 1) * len(ids) > tokens_per_batch:
                groups.append([])
            groups[-1].append((ids, learnt))
        rng.shuffle(groups)
        yield from (_pad(group) for group in groups if group)


def _pad(group: list[tuple[list[int], list[bool]]]) -> Batch:
    length = max(len(ids) for ids, _ in group)
    ids = np.zeros((len(group), length), np.int64)
    answer = np.zeros((len(group), length), np.bool_)
    for row, (row_ids, learnt) in enumerate(group):
        ids[row, : len(row_ids)] = row_ids
        answer[row, : len(learnt)] = learnt
    return Batch(torch.from_numpy(ids), torch.from_numpy(answer[:, 1:]))
