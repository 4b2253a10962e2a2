"""Between two vocabularies: what stands for the same in both, and the target's text in the draft's ids, kept as it grows."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_node.drafting.byte_vocabulary import ByteVocabulary
from shared.errors import PairError
from shared.sampling import draw, surviving
from shared.sampling_parameters import MAX_VOCAB, Sampling
from shared.transcript import common_length

_LETTER_LAST, _WORD_FIRST = re.compile(rb"[A-Za-z]\Z"), re.compile(rb" [A-Za-z]")
_PART = 16  # of the target's ids: a text is translated in parts of at least as many, where it can be cut


class Translation:
    """What a target's and a draft's vocabulary have in common.

    `to_target` [draft's ids] has for each id of the draft the target's id with the same bytes, or of the same control word. Ids that have
    none get numbers of their own from `target.size` on.
    """

    def __init__(self, target: ByteVocabulary, draft: ByteVocabulary, words: Mapping[str, str]) -> None:
        """`words` has the draft's control words for those of the target's that are called otherwise. Raises PairError."""
        self.target, self.draft = target, draft
        self.words = {target.words[word]: i for word, i in draft.words.items() if word in target.words}
        for word, meant in words.items():
            for side, name, known in (("target", word, target.words), ("draft", meant, draft.words)):
                if name not in known:
                    raise PairError(
                        f"the {side}'s tokenizer has no control word {name!r}, which the manifest translates"
                    )
            self.words[target.words[word]] = draft.words[meant]
        self.to_target = self._shared()
        alone = np.flatnonzero(self.to_target < 0)
        self.to_target[alone] = target.size + np.arange(len(alone))
        self._places = target.size + len(alone)
        if self._places > MAX_VOCAB:
            raise PairError(f"target and draft have {self._places} tokens together; {MAX_VOCAB} is the most")
        self._to_draft = np.zeros(self._places, np.int64)
        self._to_draft[self.to_target] = np.arange(draft.size)

    def ends(self, end_ids: Collection[int]) -> frozenset[int]:
        """The draft's ids for the target's that end a turn."""
        return frozenset(own for word, own in self.words.items() if word in end_ids)

    def same(self, token: int) -> int | None:
        """The target's id that stands for the same as one of the draft's; None where there is none."""
        meant = int(self.to_target[token])
        return meant if meant < self.target.size else None

    def draw(self, logits: npt.NDArray[np.floating[Any]], sampling: Sampling, position: int) -> int:
        """The draft's id that `logits` [draft's ids] give at the target's `position`.

        The noise of an id is that of the target's id with the same bytes. That of others is drawn for numbers that the target does not
        use: under one key no two numbers share it. So a draft that has the target's logits draws the target's tokens.
        """
        if sampling.temperature == 0:
            return draw(logits, sampling, position)
        row = np.full(self._places, -np.inf, logits.dtype)
        row[self.to_target[: len(logits)]] = surviving(logits, sampling)
        return int(self._to_draft[draw(row, replace(sampling, top_k=0, top_p=1.0), position)])

    def _shared(self) -> npt.NDArray[np.int64]:
        """`to_target` with -1 for ids that have none. Of two ids that stand for the same, one has."""
        found = np.full(self.draft.size, -1, np.int64)
        for i in range(self.draft.size):
            data = self.draft.bytes_of(i)
            meant = self.target.id_of(data) if data and self.draft.id_of(data) == i else None
            if meant is not None:
                found[i] = meant
        for word, own in self.words.items():
            found[own] = word
        return found


class TranslatedText:
    """One text of the target in the draft's ids. What goes on from it, or leaves it somewhere, is translated from there."""

    def __init__(self, translation: Translation) -> None:
        self._translation = translation
        self._ids: list[int] = []
        self._translated: list[int] = []
        # Where the text can be cut: so many of the target's ids are so many of the draft's, whatever follows.
        self._cuts = [(0, 0)]

    def follow(self, ids: Sequence[int]) -> list[int]:
        """The draft's ids of `ids`, the whole text: the same as if nothing had been translated before.

        Control words that the draft has none for are left out.
        """
        same = common_length(self._ids, ids)
        while self._cuts[-1][0] > same:
            self._cuts.pop()
        begin, kept = self._cuts[-1]
        self._ids = list(ids)
        del self._translated[kept:]
        part: list[bytes] = []
        target, draft = self._translation.target, self._translation.draft
        for place, token in enumerate(self._ids[begin:], begin):
            data = target.bytes_of(token)
            if not data:
                self._finish(part, place)
                self._translated += [self._translation.words[token]] if token in self._translation.words else []
                self._cuts.append((place + 1, len(self._translated)))
                continue
            if (
                len(part) >= _PART
                and draft.splits_at_words
                and _WORD_FIRST.match(data)
                and _LETTER_LAST.search(part[-1])
            ):
                self._finish(part, place)
            part.append(data)
        self._translated += draft.encode(b"".join(part))
        return list(self._translated)

    def _finish(self, part: list[bytes], place: int) -> None:
        """Cut the text before the target's id at `place`."""
        self._translated += self._translation.draft.encode(b"".join(part))
        self._cuts.append((place, len(self._translated)))
        part.clear()
