"""Drafting by looking up: what is found, what it is believed to be worth, and when a model is asked instead."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from edge_node.drafter import Block
from edge_node.ngram import Cascade, NgramDrafter, longest_agreement
from shared.sampling import Sampling

GREEDY = Sampling()


@pytest.mark.parametrize(
    ("ids", "agreed", "following"),
    [
        ([1, 2, 3, 4], 0, []),
        ([7], 0, []),
        ([5, 6, 7, 8, 5, 6], 2, [7, 8, 5, 6]),
        ([5, 6, 1, 9, 5, 6, 2, 9, 5, 6], 3, [2, 9, 5, 6]),  # the longer agreement, before the latest
        ([5, 6, 1, 4, 5, 6, 2, 3, 5, 6], 2, [2, 3, 5, 6]),  # of equals the latest
        ([3, 3, 3], 2, [3]),
        ([1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4, 5, 6, 7], 5, [8, 1, 2, 3, 4, 5, 6, 7]),
    ],
)
def test_the_longest_agreement_and_what_followed_it(ids: list[int], agreed: int, following: list[int]) -> None:
    assert longest_agreement(ids) == (agreed, following)


def test_a_block_copies_repeats_itself_and_ends_with_the_turn() -> None:
    drafter = NgramDrafter(frozenset({9}))
    assert drafter.draft([5, 6, 7, 8, 5, 6], 3, GREEDY).tokens == (7, 8, 5)
    assert drafter.draft([4, 4, 4], 5, GREEDY).tokens == (4, 4, 4, 4, 4)
    assert drafter.draft([5, 6, 7, 9, 8, 5, 6], 5, GREEDY).tokens == (7, 9)
    assert drafter.draft([5, 6, 7], 5, GREEDY) == Block((), ())
    assert drafter.draft([5, 6, 5, 6], 0, GREEDY) == Block((), ())
    with pytest.raises(ValueError, match="committed id"):
        drafter.draft([], 5, GREEDY)


def test_confidence_is_what_came_of_earlier_blocks() -> None:
    drafter = NgramDrafter()
    text = [5, 6, 7, 8, 5, 6]
    (before, *_) = drafter.draft(text, 3, GREEDY).confidences
    for _ in range(20):
        drafter.draft(text, 3, GREEDY)
        drafter.learn([9])
    block = drafter.draft(text, 3, GREEDY, threshold=0.4)
    assert block.confidences[0] < 0.2 < before
    assert len(block.tokens) == 1, "unsure: one token is proposed all the same"
    other = drafter.draft([1, 5, 6, 7, 8, 1, 5, 6], 3, GREEDY, threshold=0.4)
    assert other.confidences == (before,) * 3, "of a longer agreement nothing is known yet"


class Model:
    context = 100

    def __init__(self) -> None:
        self.heard: list[Sequence[int]] = []
        self.asked = 0

    def prefill(self, ids: object) -> None:
        pass

    def draft(self, ids: object, count: int, sampling: Sampling, *, threshold: float = 0.0) -> Block:
        self.asked += 1
        return Block((1, 1), (0.9, 0.9))

    def learn(self, ids: Sequence[int]) -> None:
        self.heard.append(ids)


def test_the_better_of_both_drafts() -> None:
    model = Model()
    cascade = Cascade(NgramDrafter(), model)
    text = [5, 6, 7, 8, 5, 6]
    assert cascade.draft([1, 2, 3], 3, GREEDY).tokens == (1, 1), "nothing was found"

    def rounds(written: list[int]) -> int:
        """How often the model is asked while the target writes that."""
        before = model.asked
        for _ in range(100):
            cascade.draft(text, 3, GREEDY)
            cascade.learn(written)
        assert len(model.heard) <= model.asked, "what was copied is not the model's"
        return model.asked - before

    assert rounds([1, 1]) > 90
    assert 10 < rounds([7, 8]) < 90, "the copy is seen to be right while the model drafts"
    assert rounds([7, 8]) == 0
