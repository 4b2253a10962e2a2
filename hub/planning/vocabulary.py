"""Head and embedding of a planned draft: their bits, and the ids that a short head has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from hub.export.gptq import round_weight
from hub.export.sensitivity import loss_between, what_it_says
from hub.pairing.answers import Answered
from hub.planning.costs import Costs
from hub.planning.program import Vocabulary

_PARTS = (2, 4)  # of all ids, that a short head may have


def vocabularies_of(
    model: Any, costs: Costs, tried: Sequence[Answered], others: Sequence[Answered]
) -> list[Vocabulary]:
    """Head and embedding in 8 and 4 bits, the head with all ids or with those that come up most often in `others`.

    What each loses is measured by the answers `tried`.
    """
    plain = what_it_says(model, tried)
    found = []
    for bits in sorted({8, *costs.bits} - {2}):
        with rounded_vocabulary(model, bits):
            divergence = loss_between(what_it_says(model, tried), plain).divergence
        for part in (1, *_PARTS):
            count = None if part == 1 else model.config.vocab_size // part
            missed = 0.0 if count is None else _missed(tried, frequent(others, count))
            found.append(Vocabulary(bits, count, missed, costs.vocabulary(bits, count, divergence)))
    return found


def frequent(texts: Sequence[Answered], count: int) -> list[int]:
    """The ids that come up most often, ascending; further ones from the lowest, which a byte-pair tokenizer learnt first."""
    seen = Counter(token for text in texts for token in text.ids)
    return sorted(list(dict.fromkeys([*(token for token, _ in seen.most_common()), *range(count)]))[:count])


@contextmanager
def rounded_vocabulary(model: Any, bits: int) -> Iterator[None]:
    """While active, the model's head and embedding have so few bits."""
    weights = {
        id(each.weight): each.weight.data for each in (model.get_output_embeddings(), model.get_input_embeddings())
    }
    before = {key: weight.clone() for key, weight in weights.items()}
    try:
        for weight in weights.values():
            weight.copy_(round_weight(weight, bits, offsets=False).weight())
        yield
    finally:
        for key, weight in before.items():
            weights[key].copy_(weight)


def _missed(texts: Sequence[Answered], ids: Sequence[int]) -> float:
    """The share of the answers' ids that are none of those."""
    known, said = set(ids), [token for text in texts for token in text.ids[text.prompt :]]
    return sum(token not in known for token in said) / max(1, len(said))
