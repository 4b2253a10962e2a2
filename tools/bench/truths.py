"""What the target writes when it decodes alone: what answers are compared with."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Protocol

import numpy as np

from hub.model.device import pick_device, pick_dtype
from hub.model.target import Target
from shared.pair import Pair
from tools.rig.lone_target import LoneTarget
from tools.rig.number_format import NumberFormat
from tools.rig.oracle import Oracle, Rule, choose

_KV_MEMORY = 64 << 20  # bytes: one text
DECODED_ALONE = (
    7  # of so many answers one is decoded token by token by the oracle; the others are confirmed in one pass each
)


@dataclass(frozen=True)
class Flips:
    """How often plain `transformers` in the hub's numbers chooses another id, behind the same ids."""

    positions: int = 0
    flips: int = 0
    greedy_positions: int = 0  # of these, those of greedy answers
    greedy_flips: int = 0
    margins: tuple[float, ...] = ()  # of greedy flips: by what plain's logits differ, between its choice and the hub's

    def __add__(self, other: Flips) -> Flips:
        return Flips(*(getattr(self, field.name) + getattr(other, field.name) for field in fields(self)))

    def figures(self) -> dict[str, Any]:
        """For people and programs."""
        return {
            "plain_positions": self.positions,
            "plain_flips": self.flips,
            "plain_positions_greedy": self.greedy_positions,
            "plain_flips_greedy": self.greedy_flips,
            "plain_flip_margin_median": round(statistics.median(self.margins), 4) if self.margins else None,
            "plain_flip_margin_max": round(max(self.margins), 4) if self.margins else None,
        }


class Truth(Protocol):
    """Knows what is right."""

    def of(self, prompt: Sequence[int], answer: Sequence[int], rule: Rule, max_tokens: int) -> tuple[list[int], Flips]:
        """The ids that should be behind `prompt`, where `answer` is, and plain's other choices there, as far as they were looked at."""


class PlainTruth:
    """Plain `transformers`, of which the hub's target in float32 never differs enough to choose another id."""

    def __init__(self, oracle: Oracle) -> None:
        self._oracle = oracle
        self._asked = 0

    def of(self, prompt: Sequence[int], answer: Sequence[int], rule: Rule, max_tokens: int) -> tuple[list[int], Flips]:
        """See `Truth`."""
        self._asked += 1
        if self._asked % DECODED_ALONE:
            return self._oracle.confirm(prompt, answer, rule, max_tokens), Flips()
        return self._oracle.answer(prompt, rule, max_tokens), Flips()


class OwnTruth:
    """The hub's own target with one session, and beside it how often plain `transformers` chooses otherwise.

    Plain's choices are made in one pass over prompt and answer, so each behind the same ids as the hub's. Margins are of greedy
    answers alone, since noise decides about the sampled ones.
    """

    def __init__(self, alone: LoneTarget, plain: Oracle) -> None:
        self._alone, self._plain = alone, plain

    def of(self, prompt: Sequence[int], answer: Sequence[int], rule: Rule, max_tokens: int) -> tuple[list[int], Flips]:
        """See `Truth`."""
        truth = self._alone.answer(prompt, rule, max_tokens)
        return truth, _flips(self._plain.logits(prompt, answer)[: len(answer)], len(prompt), answer, rule)


def truth_of(pair: Pair, form: NumberFormat, vocab_size: int, end_ids: Sequence[int], context: int) -> Truth:
    """Of a pair's target in that format; `context` is the number of ids that a text can have. Raises SledError."""
    told = vocab_size, end_ids, context
    plain = Oracle(pair.target, *told, pick_dtype(form.dtype))
    if form.is_plain:
        return PlainTruth(plain)
    return OwnTruth(LoneTarget(form.load(Target, pair.target, pick_device("auto"), _KV_MEMORY), *told), plain)


def _flips(logits: np.ndarray[Any, Any], start: int, answer: Sequence[int], rule: Rule) -> Flips:
    chosen = [choose(row, rule, start + place) for place, row in enumerate(logits)]
    flipped = [
        float(row[theirs] - row[ours])
        for row, theirs, ours in zip(logits, chosen, answer, strict=True)
        if theirs != ours
    ]
    if rule.temperature == 0:
        return Flips(len(answer), len(flipped), len(answer), len(flipped), tuple(flipped))
    return Flips(len(answer), len(flipped))
