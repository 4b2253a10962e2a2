"""A draft model of another vocabulary: takes the target's ids, and proposes the target's ids.

The target's text is put into the draft's ids, and what the draft writes behind it into the target's. Its end may still change with
what comes behind it: " pal" may become " palindrome", one token of the target. So the last token of what was written is held back, unless
it is a whole word, a figure or a comma that the draft has written as one token too: docs/other-vocabularies.md has the figures.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from math import prod
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from edge_node.drafting.drafter import Guess
from edge_node.drafting.onnx_drafter import SOURCE, Draw
from edge_node.drafting.translation import TranslatedText, Translation
from shared.sampling_parameters import Sampling

_SETTLED = re.compile(rb" [A-Za-z]{2,}| [aI]|[0-9,]")  # what hardly ever goes on in a longer token
_MOST_STEPS = 4  # of the draft in one piece of work


class OwnDrafts(Protocol):
    """A draft model that drafts in its own ids."""

    @property
    def context(self) -> int:
        """The ids it can take into account."""

    def draft(self, ids: Sequence[int], sampling: Sampling, by: Draw = ...) -> Iterator[Guess | None]:
        """See `OnnxDrafter.draft`."""


class TranslatingDrafter:
    """Drafts for the target by `model`, which drafts in its own ids."""

    def __init__(self, model: OwnDrafts, translation: Translation) -> None:
        self.context = model.context  # ids of the draft: about as many of the target
        self._model, self._translation = model, translation
        self._text = TranslatedText(translation)

    def draft(self, ids: Sequence[int], sampling: Sampling) -> Iterator[Guess | None]:
        """See `Drafter`."""
        if not ids:
            raise ValueError("a draft needs at least one committed id")
        return self._guesses(list(ids), sampling)

    def _guesses(self, ids: list[int], sampling: Sampling) -> Iterator[Guess | None]:
        text = self._text.follow(ids)
        if not text:
            return
        writing = Writing(self._translation, len(ids))
        steps = 0  # since there was something to show
        for drafted in self._model.draft(text, sampling, writing.draw):
            steps += 1
            if drafted is not None:
                if writing.ends_at(drafted.token):
                    break
                for guess in writing.take(drafted):
                    yield guess
                    steps = 0
            if drafted is None or steps >= _MOST_STEPS:
                yield None
                steps = 0
        yield from writing.rest()


class Writing:
    """What a draft writes behind a text of the target, as tokens of the target."""

    def __init__(self, translation: Translation, position: int) -> None:
        """`position` is the number of the target's ids before it."""
        self._translation = translation
        self._position = position
        self._data = b""  # what is written and not proposed
        self._from: list[tuple[int, Guess]] = []  # the draft's tokens that it is from, and where in it each begins
        self._tokens: list[int] = []  # of `_data`, as far as its characters are whole

    def draw(self, logits: npt.NDArray[np.floating[Any]], sampling: Sampling, _: int) -> int:
        """The draft's next id, by the target's noise at the position that it will have there."""
        return self._translation.draw(logits, sampling, self._position + len(self._tokens))

    @property
    def holds(self) -> bool:
        """Whether something is held back."""
        return bool(self._data)

    def ends_at(self, token: int) -> bool:
        """Whether nothing can be proposed for one of the draft's ids: it is a control word that the target has none for."""
        return not self._translation.draft.bytes_of(token) and self._translation.same(token) is None

    def take(self, drafted: Guess) -> Iterator[Guess]:
        """Go on by a token of the draft: what can now be proposed."""
        data = self._translation.draft.bytes_of(drafted.token)
        same = self._translation.same(drafted.token)
        if not data and same is not None:
            yield from self.rest()
            self._position += 1
            yield Guess(same, drafted.confidence, SOURCE, self._runner_up(drafted, same))
            return
        self._from.append((len(self._data), drafted))
        self._data += data
        self._tokens = self._translation.target.encode(self._data[: whole_characters(self._data)])
        is_settled = self._tokens[-1:] == [same] and _SETTLED.fullmatch(data)
        yield from self._propose(len(self._tokens) - (not is_settled))

    def rest(self) -> Iterator[Guess]:
        """All that was held back and is not half of a character: the draft writes no more here."""
        return self._propose(len(self._tokens))

    def _propose(self, count: int) -> Iterator[Guess]:
        for _ in range(count):
            token = self._tokens.pop(0)
            size = len(self._translation.target.bytes_of(token))
            begun = [(start, guess) for start, guess in self._from if start < size]
            runner_up = self._runner_up(begun[0][1], token) if begun and begun[0][0] == 0 else None
            self._from = [(start - size, guess) for start, guess in self._from if start >= size]
            self._data = self._data[size:]
            self._position += 1
            yield Guess(token, prod(guess.confidence for _, guess in begun), SOURCE, runner_up)

    def _runner_up(self, drafted: Guess, token: int) -> int | None:
        """The target's token that the draft's second choice begins with, if that is another than `token`."""
        if drafted.runner_up is None:
            return None
        same, data = self._translation.same(drafted.runner_up), self._translation.draft.bytes_of(drafted.runner_up)
        written = [same] if same is not None else self._translation.target.encode(data)
        return written[0] if written and written[0] != token else None


def whole_characters(data: bytes) -> int:
    """How much of `data` is there before a character that has only begun, in UTF-8."""
    for back in range(1, min(len(data), 3) + 1):
        byte = data[-back]
        if byte < 0x80:
            break
        if byte >= 0xC0:
            size = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            return len(data) - back if back < size else len(data)
    return len(data)
