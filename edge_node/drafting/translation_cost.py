"""What it costs that a draft has another vocabulary than its target: figures of two tokenizers and some text, without a model."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate

from edge_node.drafting.byte_vocabulary import ByteVocabulary
from edge_node.drafting.drafter import Guess
from edge_node.drafting.translating_drafter import Writing
from edge_node.drafting.translation import Translation
from shared.errors import PairError


@dataclass(frozen=True)
class TranslationCost:
    """Shares are from 0 to 1."""

    shared_ids: float  # of the target's ids: those that have an id of the draft with the same bytes
    shared_tokens: float  # the same of the tokens of the texts, for the target: where draws can be the same
    draft_steps: float  # of the draft for each token of the target
    held_back: float  # share of the draft's tokens behind which the target's last waits for more
    alike: (
        float  # share of the target's tokens that come out of the draft's words just so: the most that can be accepted
    )

    @property
    def told(self) -> str:
        """One sentence for whoever makes a pair."""
        return (
            f"the draft's vocabulary is another than the target's: it takes {self.draft_steps:.2f} steps for each token of the target, "
            f"{100 * self.shared_tokens:.0f} of 100 tokens are in both, and {100 * (1 - self.alike):.1f} of 100 are lost on the way"
        )


def translation_cost(translation: Translation, texts: Sequence[str]) -> TranslationCost:
    """What `translation` costs for answers such as `texts`. Raises PairError where they hold no token."""
    target, draft = translation.target, translation.draft
    both = set(translation.to_target[translation.to_target < target.size].tolist())
    tokens = steps = held = shared = alike = 0
    for text in texts:
        data = text.encode()
        written, expected = draft.encode(data), target.encode(data)
        writing = Writing(translation, 0)
        proposed: list[int] = []
        for token in written:
            proposed += [guess.token for guess in writing.take(Guess(token, 1.0, ""))]
            held += writing.holds
        proposed += [guess.token for guess in writing.rest()]
        tokens, steps = tokens + len(expected), steps + len(written)
        shared += sum(token in both for token in expected)
        alike += len(_spans(target, expected) & _spans(target, proposed))
    if not tokens or not steps:
        raise PairError("the texts hold no token of both tokenizers; give some text such as the answers will be")
    known = sum(1 for token in range(target.size) if target.bytes_of(token))
    return TranslationCost(
        shared_ids=len(both - set(translation.words)) / known,
        shared_tokens=shared / tokens,
        draft_steps=steps / tokens,
        held_back=held / steps,
        alike=alike / tokens,
    )


def _spans(vocabulary: ByteVocabulary, ids: Iterable[int]) -> set[tuple[int, int]]:
    """The bytes at which each token begins and ends."""
    ends = list(accumulate(len(vocabulary.bytes_of(token)) for token in ids))
    return set(zip([0, *ends], ends, strict=False))
