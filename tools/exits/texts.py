"""Texts for an exit to learn from: those that the target is asked to write, or writes by itself."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer

from edge_node.dialogue.tokenizer import ChatTokenizer, Turn
from shared.errors import PairError
from shared.pair import Pair
from shared.text_file import read_text
from tools.home.data.invent import HELD_OUT
from tools.home.training.batches import Text, texts, training_source

ROWS = 32  # texts that the target writes together
_MOST = 2**26  # bytes of the file of requests
_LONGEST = 160  # ids that the target writes in each text


def home_texts(pair: Pair, longest: int) -> tuple[Iterator[Text], Iterator[Text]]:
    """Endless dialogues as the built-in pair was trained on, and others with words that it never saw."""
    tokenizer = Tokenizer.from_file(str(pair.tokenizer))
    learnt = texts(tokenizer, training_source(tokenizer), longest, "exit")
    return learnt, texts(tokenizer, HELD_OUT, longest, "exit, held out")


def own_texts(pair: Pair, model: Any, requests: Path | None, stream: str) -> Iterator[Text]:
    """Endless texts that the target draws at temperature 1: answers to the lines of a file, or what it writes behind a random id."""
    rng = random.Random(stream)
    torch.manual_seed(rng.getrandbits(63))
    tokenizer = ChatTokenizer(pair)
    lines = read_text(requests, "the file of requests", PairError, most=_MOST).splitlines() if requests else []
    if requests and not any(lines):
        raise PairError(f"{requests} has no requests: write one in each line")
    while True:
        if lines:
            asked = rng.choices([line for line in lines if line], k=ROWS)
            starts = [tokenizer.prompt([Turn("user", line)]) for line in asked]
        else:
            starts = [[rng.randrange(tokenizer.vocab_size)] for _ in range(ROWS)]
        for start, written in zip(starts, _written(model, starts, tokenizer.end_ids), strict=True):
            yield Text(start + written, [False] * len(start) + [True] * len(written))


@torch.inference_mode()
def _written(model: Any, starts: list[list[int]], end_ids: frozenset[int]) -> list[list[int]]:
    """What the target draws behind each start, the end of the turn included."""
    width = max(map(len, starts))
    padding = min(end_ids)
    ids = torch.tensor([[padding] * (width - len(start)) + start for start in starts], device=model.device)
    mask = torch.tensor([[0] * (width - len(start)) + [1] * len(start) for start in starts], device=model.device)
    made = model.generate(
        ids,
        attention_mask=mask,
        do_sample=True,
        temperature=1.0,
        top_k=0,
        top_p=1.0,
        max_new_tokens=min(_LONGEST, model.config.max_position_embeddings - width),
        eos_token_id=sorted(end_ids),
        pad_token_id=padding,
    )
    return [_up_to_end(row, end_ids) for row in made[:, width:].tolist()]


def _up_to_end(ids: list[int], end_ids: frozenset[int]) -> list[int]:
    before = list(itertools.takewhile(lambda token: token not in end_ids, ids))
    return ids[: len(before) + 1]
