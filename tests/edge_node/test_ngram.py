"""Drafting by looking up: what is found, and when a model is asked instead."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from edge_node.drafting.calibration import Calibration
from edge_node.drafting.drafter import Guess, first_tokens
from edge_node.drafting.ngram import Cascade, NgramDrafter, longest_agreement
from shared.sampling_parameters import Sampling

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


def test_it_copies_repeats_itself_and_ends_with_the_turn() -> None:
    drafter = NgramDrafter(frozenset({9}))
    assert first_tokens(drafter, [5, 6, 7, 8, 5, 6], 3, GREEDY) == (7, 8, 5)
    assert first_tokens(drafter, [4, 4, 4], 5, GREEDY) == (4, 4, 4, 4, 4)
    assert first_tokens(drafter, [5, 6, 7, 9, 8, 5, 6], 5, GREEDY) == (7, 9)
    assert first_tokens(drafter, [5, 6, 7], 5, GREEDY) == ()
    with pytest.raises(ValueError, match="committed id"):
        drafter.draft([], GREEDY)


class Model:
    """Says 1, and counts how often it is asked."""

    context = 100

    def __init__(self) -> None:
        self.asked = 0

    def draft(self, ids: Sequence[int], sampling: Sampling) -> Iterator[Guess | None]:
        self.asked += 1
        yield None
        for _ in range(2):
            yield Guess(1, 0.9, "model")


def test_the_better_of_both_drafts() -> None:
    model, calibration = Model(), Calibration()
    cascade = Cascade(NgramDrafter(), model, calibration, "model")
    text = [5, 6, 7, 8, 5, 6]
    assert first_tokens(cascade, [1, 2, 3], 3, GREEDY) == (1, 1), "nothing was found"

    def rounds(written: int) -> int:
        """How often the model is asked while the target writes that."""
        before = model.asked
        for _ in range(100):
            guess = next(guess for guess in cascade.draft(text, GREEDY) if guess is not None)
            assert (guess.source == "model") == (guess.token == 1)
            calibration.learn(guess, written)
        return model.asked - before

    assert rounds(1) > 90
    assert 10 < rounds(7) < 100, "the copy is seen to be right while the model drafts"
    assert rounds(7) == 0
