"""Drafting without a model: what followed when the text's last ids stood there before (prompt lookup decoding)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edge_node.drafter import Block, Drafter
from shared.sampling import Sampling

_SHORTEST, _LONGEST = 2, 5  # ids that must agree, and from which on more make no difference
_KEPT = 0.98  # of the weight of older rounds, at each new one
_FIRST_RATE, _FIRST_TRIES = 0.7, 4.0  # assumed before anything was verified
_UNLIMITED = 2**31
_GIVEN_UP = 0.05  # of a model's rate, for tokens that take no time


@dataclass
class Rate:
    """How often tokens were accepted, of those that were looked at; newer ones count more."""

    hits: float = _FIRST_RATE * _FIRST_TRIES
    tries: float = _FIRST_TRIES

    def add(self, drafted: Sequence[int], written: Sequence[int]) -> None:
        """Count a round: what was drafted, and what the target wrote there."""
        pairs = list(zip(drafted, written, strict=False))
        accepted = next((place for place, (ours, its) in enumerate(pairs) if ours != its), len(pairs))
        self.hits = _KEPT * self.hits + accepted
        self.tries = _KEPT * self.tries + accepted + (accepted < len(pairs))

    @property
    def value(self) -> float:
        """Accepted over looked at."""
        return self.hits / self.tries


class NgramDrafter:
    """Looks up the session's last ids in its own text, the longest agreement and of these the latest."""

    def __init__(self, end_ids: frozenset[int] = frozenset()) -> None:
        self.context = _UNLIMITED
        self._end_ids = end_ids
        self._rates = {length: Rate() for length in range(_SHORTEST, _LONGEST + 1)}
        self._agreed = 0  # ids, for the block drafted last
        self._tokens: tuple[int, ...] = ()  # that block

    def prefill(self, ids: Sequence[int]) -> None:
        """Nothing has to be done ahead."""

    def draft(self, ids: Sequence[int], count: int, sampling: Sampling, *, threshold: float = 0.0) -> Block:
        """See `Drafter`; the sampling makes no difference. Every token has the confidence of its length of agreement."""
        if not ids:
            raise ValueError("a draft needs at least one committed id")
        self._tokens = ()
        self._agreed, following = longest_agreement(ids)
        if self._agreed < _SHORTEST or count <= 0:
            return Block((), ())
        confidence = self._rates[self._agreed].value
        tokens: list[int] = []
        while len(tokens) < (count if confidence >= threshold else 1):
            # Where the text repeats itself the copy runs into what it has just written.
            tokens.append(following[len(tokens) % len(following)])
            if tokens[-1] in self._end_ids:
                break
        self._tokens = tuple(tokens)
        return Block(self._tokens, (confidence,) * len(tokens))

    def learn(self, ids: Sequence[int]) -> None:
        """See `Drafter`."""
        if self._tokens:
            self._rates[self._agreed].add(self._tokens, ids)


class Cascade:
    """Looks up first, and asks a model where that finds nothing that is about as likely to be right."""

    def __init__(self, lookup: NgramDrafter, model: Drafter) -> None:
        self.context = model.context
        self._lookup, self._model = lookup, model
        self._rate = Rate()  # the model's
        self._tokens: tuple[int, ...] = ()  # what the model drafted last

    def prefill(self, ids: Sequence[int]) -> None:
        """Prefill the model."""
        self._model.prefill(ids)

    def draft(self, ids: Sequence[int], count: int, sampling: Sampling, *, threshold: float = 0.0) -> Block:
        """See `Drafter`."""
        self._tokens = ()
        block = self._lookup.draft(ids, count, sampling, threshold=threshold)
        if block.tokens and block.confidences[0] >= self._rate.value - _GIVEN_UP:
            return block
        block = self._model.draft(ids, count, sampling, threshold=threshold)
        self._tokens = block.tokens
        return block

    def learn(self, ids: Sequence[int]) -> None:
        """See `Drafter`. What was looked up is judged also where the model drafted: else it could never prove right."""
        self._lookup.learn(ids)
        if self._tokens:
            self._rate.add(self._tokens, ids)
            self._model.learn(ids)


def longest_agreement(ids: Sequence[int]) -> tuple[int, list[int]]:
    """How many of the last ids stood before the end too, _LONGEST at most, and what followed there, up to the end."""
    text = np.asarray(ids)
    last = len(text) - 1
    ends = np.flatnonzero(text[:last] == text[last])
    agreed = 0
    while len(ends):
        agreed += 1
        latest = int(ends[-1])
        if agreed == _LONGEST:
            break
        ends = ends[ends >= agreed]
        ends = ends[text[ends - agreed] == text[last - agreed]]
    return agreed, text[latest + 1 :].tolist() if agreed else []
