"""What is drafted while waiting, and what of it is kept when a verdict comes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from edge_node.drafting.calibration import Calibration
from edge_node.drafting.drafter import Guess
from edge_node.rounds.lookahead import Lookahead
from edge_node.rounds.skill import DraftSkill
from shared.sampling_parameters import Sampling

PROMPT = [7, 8, 9]
LONG_S = 1e3


class Counting:
    """Says the next whole number, the runner-up a hundred more; `asked` are the texts behind which a token was drafted."""

    context = 100

    def __init__(self, confidence: float = 0.8, pieces: int = 0, end: int = 1000) -> None:
        self.asked: list[tuple[int, ...]] = []
        self._confidence, self._pieces, self._end = confidence, pieces, end

    def draft(self, ids: Sequence[int], sampling: Sampling) -> Iterator[Guess | None]:
        text = list(ids)
        for _ in range(self._pieces):
            yield None
        while text[-1] < self._end:
            self.asked.append(tuple(text))
            text.append(text[-1] + 1)
            yield Guess(text[-1], self._confidence, "counting", text[-1] + 100)


def lookahead(drafter: Counting) -> Lookahead:
    found = Lookahead(drafter, Calibration(), DraftSkill())
    found.begin(PROMPT, Sampling())
    return found


def trunk(found: Lookahead) -> list[int]:
    return [guess.token for guess in found.trunk]


def sent(found: Lookahead, count: int) -> None:
    while len(found.trunk) < count:
        assert found.grow()
    assert found.take_block(count) == tuple(range(10, 10 + count))


def exhaust(found: Lookahead, length: int) -> None:
    for _ in range(100):
        if not found.work(length, LONG_S):
            return
    raise AssertionError("there is always more to do")


def test_what_was_guessed_right_is_the_next_block() -> None:
    drafter = Counting()
    found = lookahead(drafter)
    sent(found, 3)
    for _ in range(4):
        assert found.work(3, LONG_S)
    assert trunk(found) == [10, 11, 12, 13, 14, 15, 16], "the block, the bonus token, and the next block"
    asked = len(drafter.asked)
    found.settle([*PROMPT, 10, 11, 12, 13], 4)
    assert trunk(found) == [14, 15, 16]
    assert found.grow()
    assert trunk(found) == [14, 15, 16, 17]
    assert len(drafter.asked) == asked + 1, "nothing was drafted twice"


def test_what_was_guessed_wrong_is_forgotten() -> None:
    found = lookahead(Counting())
    sent(found, 3)
    assert found.work(3, LONG_S)
    found.settle([*PROMPT, 10, 50], 2)
    assert trunk(found) == []
    assert found.grow()
    assert trunk(found) == [51]


def test_a_likely_correction_is_prepared() -> None:
    drafter = Counting(confidence=0.6)
    found = lookahead(drafter)
    sent(found, 2)
    exhaust(found, 3)
    asked = len(drafter.asked)
    found.settle([*PROMPT, 110], 1)  # the first token's runner-up
    assert trunk(found) == [111, 112, 113]
    assert len(drafter.asked) == asked
    found.take_block(3)
    found.settle([*PROMPT, 110, 111, 112, 113, 114], 4)
    assert found.grow()
    assert trunk(found) == [115], "the branch has become the trunk"


def test_branches_are_few_where_the_drafter_is_sure() -> None:
    drafter = Counting(confidence=0.99)
    found = lookahead(drafter)
    sent(found, 4)
    exhaust(found, 4)
    assert all(text[-1] < 100 for text in drafter.asked)


def test_an_early_verdict_comes_first() -> None:
    drafter = Counting()
    found = lookahead(drafter)
    sent(found, 3)
    found.expect(1, 60)
    for _ in range(3):
        assert found.work(3, LONG_S)
    assert [text[-1] for text in drafter.asked[3:]] == [60, 61, 62]
    found.settle([*PROMPT, 10, 60], 2)
    assert trunk(found) == [61, 62, 63]


def test_an_early_verdict_that_agrees_changes_nothing_and_a_wrong_one_costs_nothing() -> None:
    drafter = Counting()
    found = lookahead(drafter)
    sent(found, 3)
    assert found.work(3, LONG_S)
    found.expect(3, 13)
    assert found.work(3, LONG_S)
    assert trunk(found) == [10, 11, 12, 13, 14]
    found.take_block(3)
    found.expect(0, 77)
    assert found.work(3, LONG_S)
    found.settle([*PROMPT, 10, 11, 12, 13], 4)
    assert trunk(found) == [14], "what was drafted for the trunk is still there"
    found.expect(9, 9)  # of a block that was never sent
    assert found.grow()


def test_what_was_prepared_outlives_an_early_verdict() -> None:
    drafter = Counting(confidence=0.6)
    found = lookahead(drafter)
    sent(found, 2)
    exhaust(found, 3)
    found.expect(1, 60)
    exhaust(found, 3)
    asked = len(drafter.asked)
    found.settle([*PROMPT, 110], 1)  # the first token's runner-up, and not what the early verdict said
    assert trunk(found) == [111, 112, 113]
    assert len(drafter.asked) == asked


def test_nothing_is_begun_that_would_make_the_next_block_late() -> None:
    found = lookahead(Counting(confidence=0.5))
    sent(found, 3)
    found._skill.draft_s.value = 0.1
    assert not found.work(3, left_s=0.05), "a chance of 1 in 8 to be of use"
    assert found.work(3, left_s=0.095)


def test_the_text_may_grow_while_the_drafter_takes_it_in() -> None:
    found = lookahead(Counting(pieces=3))
    prompt = list(range(500, 530))
    found.begin(prompt, Sampling())
    assert found.grow()
    assert not found.ready
    found.settle([*prompt, 40], 1)
    while not found.trunk:
        assert found.grow()
    assert trunk(found) == [41]
    assert found.ready
    found.settle([*prompt, 40, 2], 1)
    assert found.ready, "a rejected guess is no reason to stream"
    found.settle([*prompt, 40, 2, *range(200, 220)], 20)
    assert not found.ready


def test_a_drafter_without_an_idea_is_asked_again_when_the_text_goes_on() -> None:
    found = lookahead(Counting(end=9))
    assert found.grow()
    assert not found.grow()
    assert found.ready
    found.settle([*PROMPT, 3], 1)
    assert found.grow()
    assert trunk(found) == [4]


def test_verdicts_teach() -> None:
    found = lookahead(Counting(confidence=0.8))
    for _ in range(60):
        while len(found.trunk) < 3:
            found.grow()
        found.take_block(3)
        found.settle([*PROMPT, found.trunk[0].token, 109 + 2], 2)
        found.begin(PROMPT, Sampling())
    assert found._skill.acceptance.value == pytest.approx(0.5, abs=0.1), "the first right, the second wrong"
    assert found._skill.runner_up.value > 0.8, "111 is the second's runner-up"
    assert found.chances == []
