"""How far the hub may decode by itself: tables of what is due, when it is renewed and what extends it."""

from __future__ import annotations

import pytest

from edge_node.rounds.credit import Credit
from edge_node.rounds.pace import Pace
from edge_node.rounds.skill import DraftSkill
from edge_node.rounds.timing import RoundTimes
from edge_node.settings import Mode, NodeSettings
from shared.messages import Draft
from shared.running_mean import RunningMean

LIMIT = 1000


def credit(mode: Mode, times: RoundTimes | None = None, skill: DraftSkill | None = None) -> Credit:
    """Of a node whose setting is 64 tokens."""
    times, settings = times or RoundTimes(), NodeSettings(name="node", mode=mode, credit=64)
    return Credit(settings, Pace(skill or DraftSkill(), times, ahead=True), times, LIMIT)


def times(trip_s: float, stream_s: float) -> RoundTimes:
    return RoundTimes(trip_s=RunningMean(trip_s, count=20), stream_s=RunningMean(stream_s, count=20))


DRAFTED = DraftSkill(draft_s=RunningMean(0.005, count=20))


@pytest.mark.parametrize(
    ("given", "streams", "tokens"),
    [
        pytest.param(credit(Mode.AUTO), False, 4, id="drafted blocks are to follow soon"),
        pytest.param(credit(Mode.AUTO), True, 16, id="neither drafting nor streaming has been timed"),
        pytest.param(credit(Mode.STREAM), True, 64, id="nothing is known of the link: as set"),
        pytest.param(credit(Mode.AUTO, times(0.1, 0.1), DRAFTED), True, 64, id="a short trip: as set"),
        pytest.param(credit(Mode.STREAM, times(0.1, 0.001)), True, 300, id="three round trips"),
        pytest.param(credit(Mode.STREAM, times(1.0, 0.001)), True, 512, id="and no more than that"),
        pytest.param(credit(Mode.SPECULATE, times(1.0, 0.001)), False, 4, id="speculating over a long trip"),
    ],
)
def test_what_is_due(given: Credit, streams: bool, tokens: int) -> None:
    assert given.due(100, streams) == 100 + tokens
    assert given.due(LIMIT - 2, streams) == LIMIT, "never past the end of the answer"


def test_a_small_setting_is_never_exceeded_where_blocks_follow() -> None:
    settings = NodeSettings(name="node", mode=Mode.SPECULATE, credit=2)
    found = Credit(settings, Pace(DraftSkill(), RoundTimes(), ahead=True), RoundTimes(), LIMIT)
    assert found.due(100, streams=False) == 102


def test_credit_is_renewed_when_half_of_it_is_used() -> None:
    given = credit(Mode.STREAM)
    given.give(Draft(1, 100, 0, (), until=164), 100)
    assert given.renewed(131, streams=True) is None
    assert given.renewed(132, streams=True) == 196
    given.give(Draft(2, 132, 0, (), until=LIMIT), 132)
    assert given.renewed(LIMIT - 1, streams=True) is None, "the hub has all that there is"


@pytest.mark.parametrize(
    ("draft", "extends"),
    [
        pytest.param(Draft(2, 120, 0, (), until=200), True, id="more than it has"),
        pytest.param(Draft(2, 120, 0, (), until=164), False, id="as much as it has"),
        pytest.param(Draft(2, 120, 0, (), until=0), False, id="none: a block is to be verified"),
        pytest.param(Draft(2, 120, 0, (), until=200, append=(1,)), False, id="the text goes on elsewhere"),
        pytest.param(Draft(2, 120, 0, (), until=200, cut=True), False, id="the text was cut"),
    ],
)
def test_what_extends_what_the_hub_is_using(draft: Draft, extends: bool) -> None:
    given = credit(Mode.STREAM)
    assert not given.give(Draft(1, 100, 0, (), until=164), 100), "there was nothing to extend"
    assert given.give(draft, 120) is extends
    assert given.until == draft.until


def test_credit_that_is_used_up_is_not_extended_but_given_anew() -> None:
    given = credit(Mode.STREAM)
    given.give(Draft(1, 100, 0, (), until=164), 100)
    assert not given.give(Draft(2, 164, 0, (), until=228), 164)
