"""Training batches for the built-in pair: dialogues as token ids, the answers marked, similar lengths together."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from tokenizers import Tokenizer

from tools.home.data.generate import Dialogue, dialogue
from tools.home.data.invent import Source
from tools.home.data.tokenizer import ASSISTANT, END, SYSTEM, USER

POOL = 1024  # dialogues that are sorted by length together


@dataclass(frozen=True)
class Text:
    """A dialogue as ids, and for each whether the assistant wrote it."""

    ids: list[int]
    learnt: list[bool]

    @property
    def prompt(self) -> list[int]:
        """The ids up to where the last answer begins."""
        start = len(self.ids)
        while start and self.learnt[start - 1]:
            start -= 1
        return self.ids[:start]

    def answered(self, answer: list[int]) -> Text:
        """The same dialogue with another last answer."""
        start = len(self.prompt)
        return Text(self.ids[:start] + answer, self.learnt[:start] + [True] * len(answer))


@dataclass(frozen=True)
class Batch:
    """`ids` [rows, length] padded with 0 at the end; `answer` [rows, length - 1] is true where the next id is learnt.

    `texts` are the rows' dialogues.
    """

    ids: torch.Tensor
    answer: torch.Tensor
    texts: tuple[Text, ...]

    def to(self, device: torch.device) -> Batch:
        """The batch in that device's memory."""
        return Batch(self.ids.to(device), self.answer.to(device), self.texts)

    def last_answers(self) -> Batch:
        """The batch with only each row's last answer marked."""
        answer = self.answer.clone()
        for row, text in enumerate(self.texts):
            answer[row, : len(text.prompt) - 1] = False
        return Batch(self.ids, answer, self.texts)


def encode(tokenizer: Tokenizer, drawn: Dialogue) -> Text:
    """The dialogue as the chat template renders it; an answer's end is the assistant's too."""
    ids: list[int] = []
    learnt: list[bool] = []

    def add(text: str, *, by_assistant: bool) -> None:
        added = tokenizer.encode(text, add_special_tokens=False).ids
        ids.extend(added)
        learnt.extend([by_assistant] * len(added))

    if drawn.system is not None:
        add(f"{SYSTEM}{drawn.system}{END}", by_assistant=False)
    for exchange in drawn.exchanges:
        add(f"{USER}{exchange.request}{END}{ASSISTANT}", by_assistant=False)
        add(f"{exchange.answer}{END}", by_assistant=True)
    return Text(ids, learnt)


def training_source(tokenizer: Tokenizer) -> Source:
    """What training draws: words may be joined from the pieces of `tokenizer`, so that each of them is copied at times."""
    pieces = sorted(piece for piece in tokenizer.get_vocab() if piece.isascii() and piece.isalpha() and piece.islower())
    return Source("train", pieces=tuple(pieces))


def texts(tokenizer: Tokenizer, source: Source, longest: int, stream: str) -> Iterator[Text]:
    """Endless dialogues of at most `longest` ids; the same `stream` draws the same ones."""
    rng = random.Random(stream)
    while True:
        text = encode(tokenizer, dialogue(rng, source))
        if len(text.ids) <= longest:
            yield text


def batches(tokenizer: Tokenizer, source: Source, batch_ids: int, longest: int, stream: str) -> Iterator[Batch]:
    """An endless stream of batches of at most `batch_ids` ids, padding included."""
    rng = random.Random(stream)
    drawn = texts(tokenizer, source, longest, stream)
    while True:
        yield from grouped([next(drawn) for _ in range(POOL)], batch_ids, rng)


def grouped(pool: Iterable[Text], batch_ids: int, rng: random.Random) -> Iterator[Batch]:
    """The texts of `pool` in batches of similar length, each of at most `batch_ids` ids, in random order."""
    groups: list[list[Text]] = []
    for text in sorted(pool, key=lambda text: len(text.ids)):
        if not groups or (len(groups[-1]) + 1) * len(text.ids) > batch_ids:
            groups.append([])
        groups[-1].append(text)
    rng.shuffle(groups)
    yield from map(_padded, groups)


def _padded(group: list[Text]) -> Batch:
    length = max(len(text.ids) for text in group)
    ids = np.zeros((len(group), length), np.int64)
    answer = np.zeros((len(group), length), np.bool_)
    for row, text in enumerate(group):
        ids[row, : len(text.ids)] = text.ids
        answer[row, : len(text.ids)] = text.learnt
    return Batch(torch.from_numpy(ids), torch.from_numpy(answer[:, 1:]), tuple(group))
