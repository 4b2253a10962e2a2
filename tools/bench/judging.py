"""Chats beside what the target writes alone, judged in as many processes as there are cores: each id is decoded for itself."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context

import torch
from tokenizers import Tokenizer

from shared.pair import load_pair
from shared.vocabulary import ids_below
from tools.bench.report import progress
from tools.bench.truths import Flips, truth_of
from tools.rig.number_format import NumberFormat
from tools.rig.oracle import Rule

_WORTH = 40  # chats that are worth a process of their own, which imports PyTorch first


@dataclass(frozen=True)
class Chat:
    """What was asked of the target of a pair with the built-in template, and what came."""

    system: str | None
    requests: tuple[str, ...]
    answers: tuple[tuple[int, ...], ...]
    rule: Rule


@dataclass(frozen=True)
class Judgement:
    """Tokens compared, and answers that differ from the truth somewhere."""

    compared: int = 0
    mismatches: int = 0
    flips: Flips = Flips()

    def __add__(self, other: Judgement) -> Judgement:
        return Judgement(self.compared + other.compared, self.mismatches + other.mismatches, self.flips + other.flips)


@dataclass(frozen=True)
class Court:
    """What a judge has to know."""

    pair: str
    """Folder of the pair."""
    form: NumberFormat
    threads: int
    """Of torch, as the hub's are: bits depend on them."""
    context: int
    """Ids that a session of the hub can hold."""
    kept: int
    """Requests of a chat that the pair's template shows the target."""
    max_tokens: int
    """Of an answer."""


class Judge:
    """Compares chats with the truth."""

    def __init__(self, court: Court) -> None:
        torch.set_num_threads(court.threads)
        pair = load_pair(court.pair)
        self._court = court
        self._tokenizer = Tokenizer.from_file(str(pair.tokenizer))
        self._end: int = self._tokenizer.token_to_id(pair.end_tokens[0])
        self._truth = truth_of(pair, court.form, ids_below(self._tokenizer), [self._end], court.context)

    def judgement(self, chat: Chat) -> Judgement:
        """Of one chat."""
        exchanges: list[list[int]] = []
        total = Judgement()
        opening = self._encode(f"<|system|>{chat.system}<|end|>") if chat.system else []
        for request, answer in zip(chat.requests, chat.answers, strict=True):
            asked = self._encode(f"<|user|>{request}<|end|><|assistant|>")
            ids = [*opening, *itertools.chain(*exchanges[1 - self._court.kept :]), *asked]
            right, flips = self._truth.of(ids, answer, chat.rule, self._court.max_tokens)
            total += Judgement(len(right), right != list(answer), flips)
            exchanges.append([*asked, *right, *([] if right[-1:] == [self._end] else [self._end])])
        return total

    def _encode(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids


def judged(chats: Sequence[Chat], court: Court) -> Judgement:
    """Compare all of them, and show how far that is."""
    processes = min((os.cpu_count() or 1) // court.threads, len(chats) // _WORTH)
    total = Judgement()
    with progress() as bars:
        for judgement in bars.track(_judgements(chats, court, processes), len(chats), description="the oracle"):
            total += judgement
    return total


def _judgements(chats: Sequence[Chat], court: Court, processes: int) -> Iterator[Judgement]:
    if processes < 2:
        yield from map(Judge(court).judgement, chats)
        return
    context = get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context, initializer=_appoint, initargs=(court,)) as pool:
        yield from pool.map(_judgement, chats)


_appointed: list[Judge] = []  # the judge of this process


def _appoint(court: Court) -> None:
    _appointed.append(Judge(court))


def _judgement(chat: Chat) -> Judgement:
    return _appointed[0].judgement(chat)
