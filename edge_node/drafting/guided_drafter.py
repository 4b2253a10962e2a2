"""A draft model that keeps to the grammar of the answer: it draws among the ids that may come, and what must come it does not compute."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_node.drafting.drafter import Guess
from edge_node.drafting.onnx_drafter import OnnxDrafter
from edge_node.drafting.prefix_drafter import PrefixDrafter
from shared.errors import GrammarError
from shared.guide import CompiledGrammar, Guide, allowed
from shared.sampling import draw
from shared.sampling_parameters import Sampling

SOURCE = "grammar"  # of guesses that a grammar forces


class GuidedDrafter:
    """Drafts as `model` does where an answer has no grammar. The sampling of drafts names one, `keep_to` brings it."""

    def __init__(self, model: PrefixDrafter | OnnxDrafter, end_ids: frozenset[int]) -> None:
        self.context = model.context
        self._model, self._end_ids = model, end_ids
        self._grammar: CompiledGrammar | None = None
        self._guide: Guide | None = None

    def keep_to(self, grammar: CompiledGrammar | None) -> None:
        """The grammar of the answers to come."""
        if grammar is not self._grammar:
            self._grammar = grammar
            self._guide = None if grammar is None else grammar.guide()

    def draft(self, ids: Sequence[int], sampling: Sampling) -> Iterator[Guess | None]:
        """See `Drafter`. It ends where the text does not keep to the grammar, as one that is not verified may not."""
        if self._grammar is None or self._guide is None or sampling.grammar != self._grammar.digest:
            return self._model.draft(ids, sampling)
        return self._guesses(TextInGrammar(list(ids), sampling.grammar_from, self._guide), sampling)

    def _guesses(self, text: TextInGrammar, sampling: Sampling) -> Iterator[Guess | None]:
        try:
            while len(text.ids) < self.context:
                for token in text.certain():
                    text.ids.append(token)
                    yield Guess(token, 1.0, SOURCE)
                    if token in self._end_ids:
                        return
                for guess in self._model.draft(text.ids, sampling, text.draw):
                    if guess is None:
                        yield None
                        continue
                    text.ids.append(guess.token)
                    yield guess
                    if guess.token in self._end_ids:
                        return
                    if text.certain():
                        break
                else:
                    return
        except GrammarError:
            text.renew()


class TextInGrammar:
    """A text and where it stands in its grammar. Several drafts of one answer are gone on with in turn by the same guide."""

    def __init__(self, ids: list[int], begins: int, guide: Guide) -> None:
        self.ids = ids
        self._begins, self._guide = begins, guide

    def renew(self) -> None:
        """Begin anew, as the library may follow nothing more."""
        self._guide.renew()

    def certain(self) -> list[int]:
        """The ids that come next for certain. Raises GrammarError."""
        return self._guide.certain(self.ids[self._begins :])

    def draw(self, logits: npt.NDArray[np.floating[Any]], sampling: Sampling, position: int) -> int:
        """The id that `logits` give among those that may come; the others are -inf in them from then on."""
        masks = self._guide.masks(self.ids[self._begins :])
        logits[~allowed(masks, len(logits))[0]] = -np.inf
        return draw(logits, sampling, position)
