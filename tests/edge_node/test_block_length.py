"""How many drafted tokens go into a block: by policy, by what the hub takes and by what it advises."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from edge_node.drafting.drafter import Guess
from edge_node.rounds.block_length import BlockLength
from edge_node.rounds.pace import Pace
from edge_node.rounds.skill import DraftSkill
from edge_node.rounds.timing import RoundTimes
from edge_node.settings import NodeSettings, Policy
from shared.limits import MAX_DRAFT
from shared.running_mean import RunningMean


def length(policy: Policy, draft_length: int = 8, skill: DraftSkill | None = None) -> BlockLength:
    times = RoundTimes(trip_s=RunningMean(0.1), hub_s=RunningMean(0.02))
    settings = NodeSettings(name="node", policy=policy, draft_length=draft_length, threshold=0.5)
    return BlockLength(settings, Pace(skill or DraftSkill(), times, ahead=True))


def guesses(*confidences: float) -> list[Guess]:
    return [Guess(7, confidence, "model") for confidence in confidences]


@pytest.mark.parametrize(
    ("policy", "chances", "count"),
    [
        (Policy.FIXED, [0.9, 0.1, 0.1], 3),
        (Policy.FIXED, [], 0),
        (Policy.THRESHOLD, [0.9, 0.8, 0.4, 0.9], 2),
        (Policy.THRESHOLD, [0.4, 0.9], 1),
        (Policy.THRESHOLD, [0.9, 0.9], 2),
        (Policy.THRESHOLD, [], 0),
        (Policy.AUTO, [0.9, 0.5, 0.2], 3),
        (Policy.AUTO, [0.3, 0.3, 0.3, 0.3], 2),
        (Policy.AUTO, [0.01, 0.01], 1),
        (Policy.AUTO, [], 0),
    ],
)
def test_what_fits(policy: Policy, chances: Sequence[float], count: int) -> None:
    """`auto` leaves out what is reached with a chance below 0.05, `threshold` what is less sure than 0.5; one token always goes."""
    assert length(policy).fitting(guesses(*chances), chances) == count


@pytest.mark.parametrize(
    ("policy", "draft_length", "taken", "advised", "longest"),
    [
        (Policy.AUTO, 8, 16, None, 8),
        (Policy.AUTO, 8, 4, None, 4),
        (Policy.AUTO, 8, 16, 3, 3),
        (Policy.AUTO, 8, 16, 12, 8),
        (Policy.AUTO, 8, 16, 0, 1),
        (Policy.FIXED, 8, 16, 3, 8),
        (Policy.FIXED, 8, 4, 3, 4),
        (Policy.THRESHOLD, 8, 16, 3, 8),
    ],
)
def test_the_longest_block(policy: Policy, draft_length: int, taken: int, advised: int | None, longest: int) -> None:
    found = length(policy, draft_length)
    found.begin(taken)
    found.advise(advised)
    assert found.longest == longest


def test_advice_holds_until_the_next_and_ends_with_the_session() -> None:
    found = length(Policy.AUTO)
    found.advise(3)
    found.advise(None)
    assert found.advised == 3
    found.begin(MAX_DRAFT)
    assert found.advised is None


def test_usual_blocks_are_the_best_by_what_was_measured() -> None:
    good = DraftSkill(draft_s=RunningMean(0.001), acceptance=RunningMean(0.95))
    bad = DraftSkill(draft_s=RunningMean(0.05), acceptance=RunningMean(0.2))
    assert length(Policy.AUTO, skill=good).usual == 8
    assert length(Policy.AUTO, skill=bad).usual == 1
    assert length(Policy.FIXED, skill=bad).usual == 8


def test_a_doubtful_block_is_not_drafted_on() -> None:
    skill = DraftSkill(draft_s=RunningMean(0.02), acceptance=RunningMean(0.7))
    auto = length(Policy.AUTO, skill=skill)
    assert auto.goes_on([])
    assert auto.goes_on([0.99])
    assert not auto.goes_on([0.99, 0.1])
    assert length(Policy.FIXED, skill=skill).goes_on([0.01])
