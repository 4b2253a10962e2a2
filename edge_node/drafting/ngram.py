"""Drafting without a model: what followed when the text's last ids stood there before (prompt lookup decoding)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from edge_node.drafting.calibration import Calibration
from edge_node.drafting.drafter import Drafter, Guess
from shared.sampling_parameters import Sampling

SOURCE = "ngram"
_CONFIDENCES = {2: 0.5, 3: 0.6, 4: 0.7, 5: 0.8}  # assumed by the number of ids that agree, until verdicts tell
_LONGEST = max(_CONFIDENCES)  # ids: a longer agreement makes no difference
_UNLIMITED = 2**31
_GIVEN_UP = 0.05  # of the model's rate of acceptance, given up for tokens that take no time
_TRIED_AGAIN = 8  # drafts of which one is the model's, while it is left out


class NgramDrafter:
    """Looks up the session's last ids in its own text, the longest agreement and of these the latest."""

    def __init__(self, end_ids: frozenset[int] = frozenset()) -> None:
        self.context = _UNLIMITED
        self._end_ids = end_ids

    def draft(self, ids: Sequence[int], sampling: Sampling) -> Iterator[Guess]:
        """See `Drafter`; the sampling makes no difference. Every token has the confidence of its number of ids that agree."""
        if not ids:
            raise ValueError("a draft needs at least one committed id")
        return self._copy(ids)

    def _copy(self, ids: Sequence[int]) -> Iterator[Guess]:
        agreed, following = longest_agreement(ids)
        place = 0
        while agreed in _CONFIDENCES:
            # Where the text repeats itself the copy runs into what it has just written.
            token = following[place % len(following)]
            yield Guess(token, _CONFIDENCES[agreed], SOURCE)
            if token in self._end_ids:
                break
            place += 1


class Cascade:
    """Looks up first, and asks a model where that finds nothing that is about as likely to be right."""

    def __init__(
        self,
        lookup: NgramDrafter,
        model: Drafter,
        calibration: Calibration,
        source: str,
        leaves_out_model: Callable[[], bool] = lambda: False,
    ) -> None:
        """`calibration` learns from verdicts how likely both are to be right; `source` is the model's in its guesses.

        While `leaves_out_model` says so, the model is asked now and then alone, to see how good it is.
        """
        self.context = model.context
        self._lookup, self._model = lookup, model
        self._calibration, self._source = calibration, source
        self._leaves_out_model = leaves_out_model
        self._left_out = 0  # drafts in which the model was left out or tried again

    def draft(self, ids: Sequence[int], sampling: Sampling) -> Iterator[Guess | None]:
        """See `Drafter`. The model's first token carries what was looked up: else that could never prove right again."""
        found = self._lookup.draft(ids, sampling)
        first = next(found, None)
        if self._is_left_out():
            yield from () if first is None else (first,)
            yield from found
            return
        if first is not None and self._calibration.chance(first) >= self._calibration.rate(self._source) - _GIVEN_UP:
            yield first
            yield from found
            return
        for guess in self._model.draft(ids, sampling):
            yield guess if guess is None else replace(guess, aside=first)
            first = first if guess is None else None

    def _is_left_out(self) -> bool:
        if not self._leaves_out_model():
            return False
        self._left_out += 1
        return self._left_out % _TRIED_AGAIN != 0


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
