"""What the target writes when it decodes alone: what answers are compared with."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from tools.rig.lone_target import LoneTarget
from tools.rig.oracle import Oracle, Rule, choose

DECODED_ALONE = (
    7  # of so many answers one is decoded token by token by the oracle; the others are confirmed in one pass each
)


class Truth(Protocol):
    """Knows what is right."""

    def of(self, prompt: Sequence[int], answer: Sequence[int], rule: Rule, max_tokens: int) -> list[int]:
        """The ids that should be behind `prompt`, where `answer` is."""

    def figures(self) -> dict[str, Any]:
        """What else was counted."""


class PlainTruth:
    """Plain `transformers`, of which the hub's target in float32 never differs enough to choose another id."""

    def __init__(self, oracle: Oracle) -> None:
        self._oracle = oracle
        self._asked = 0

    def of(self, prompt: Sequence[int], answer: Sequence[int], rule: Rule, max_tokens: int) -> list[int]:
        """See `Truth`."""
        self._asked += 1
        if self._asked % DECODED_ALONE:
            return self._oracle.confirm(prompt, answer, rule, max_tokens)
        return self._oracle.answer(prompt, rule, max_tokens)

    def figures(self) -> dict[str, Any]:
        """See `Truth`."""
        return {}


class OwnTruth:
    """The hub's own target with one session, and beside it how often plain `transformers` in its numbers chooses otherwise.

    Plain's choices are made in one pass over prompt and answer, so each behind the same ids as the hub's. A flip is one that is
    another. Its margin is what plain's logits differ by, between its choice and the hub's: in greedy answers alone, since noise
    decides about the sampled ones.
    """

    def __init__(self, alone: LoneTarget, plain: Oracle) -> None:
        self._alone, self._plain = alone, plain
        self._looked = {True: 0, False: 0}  # positions, of greedy answers and of others
        self._flips = {True: 0, False: 0}
        self._margins: list[float] = []

    def of(self, prompt: Sequence[int], answer: Sequence[int], rule: Rule, max_tokens: int) -> list[int]:
        """See `Truth`."""
        truth = self._alone.answer(prompt, rule, max_tokens)
        self._compare(self._plain.logits(prompt, answer)[: len(answer)], len(prompt), answer, rule)
        return truth

    def figures(self) -> dict[str, Any]:
        """See `Truth`."""
        margins = self._margins
        return {
            "plain_positions": sum(self._looked.values()),
            "plain_flips": sum(self._flips.values()),
            "plain_positions_greedy": self._looked[True],
            "plain_flips_greedy": self._flips[True],
            "plain_flip_margin_median": round(statistics.median(margins), 4) if margins else None,
            "plain_flip_margin_max": round(max(margins), 4) if margins else None,
        }

    def _compare(self, logits: np.ndarray[Any, Any], start: int, answer: Sequence[int], rule: Rule) -> None:
        greedy = rule.temperature == 0
        self._looked[greedy] += len(answer)
        for place, (row, ours) in enumerate(zip(logits, answer, strict=True)):
            theirs = choose(row, rule, start + place)
            if theirs != ours:
                self._flips[greedy] += 1
                if greedy:
                    self._margins.append(float(row[theirs] - row[ours]))
