"""The simulation of many devices, where it can be told what must come out."""

from __future__ import annotations

import pytest

from tools.scale.measured import sessions_held
from tools.scale.simulation import Costs, Habits, simulate

COSTS = Costs(fixed_s=0.020, row_s=0.001, token_s=0.0005, step_s=0.001, message_s=0.0002, way_s=0.002)


def test_a_lone_device_gets_what_its_rounds_take() -> None:
    habits = Habits(acceptance=1.0, length=4, draft_s=0.010, answer=10_000)
    outcome = simulate(COSTS, habits, devices=1, seconds=100.0)
    round_s = 4 * 0.010 + 2 * 0.002 + 0.020 + 0.001 + 5 * 0.0005 + 0.001 + 0.0002
    assert outcome.tokens_per_s == pytest.approx(5 / round_s, rel=0.01)
    assert outcome.rows == outcome.forwards


def test_drafts_that_are_rejected_bring_the_targets_token() -> None:
    outcome = simulate(COSTS, Habits(acceptance=0.0, answer=10_000), devices=1, seconds=100.0)
    verified_nothing = 2 * 0.002 + 0.020 + 0.001 + 0.0005 + 0.001 + 0.0002
    assert outcome.tokens_per_s == pytest.approx(1 / verified_nothing, rel=0.01), "the hub's rule verifies none of them"


def test_devices_share_forwards_and_a_hub_is_never_busier_than_it_can_be() -> None:
    habits = Habits(acceptance=0.8, length=4, answer=10_000)
    alone, together = (simulate(COSTS, habits, devices=count) for count in (1, 16))
    assert 3 * alone.tokens_per_s < together.tokens_per_s < 16 * alone.tokens_per_s
    assert together.rows > 8 * together.forwards
    assert 0.8 < together.busy_s[0] / together.seconds <= 1.001
    least, most = min(together.tokens), max(together.tokens)
    assert most < 1.2 * least, "nobody is left behind"


def test_more_hubs_answer_sooner_and_each_device_asks_as_often_as_it_does() -> None:
    habits = Habits(answer=32, think_s=20.0)
    one, four = (simulate(COSTS, habits, devices=200, hubs=hubs, seconds=120.0, warm_up_s=20.0) for hubs in (1, 4))
    mean_s = sum(four.answers_s) / len(four.answers_s)
    assert len(four.answers_s) / four.seconds == pytest.approx(200 / (20.0 + mean_s), rel=0.15)
    assert sum(four.answers_s) / len(four.answers_s) < sum(one.answers_s) / len(one.answers_s)
    assert max(four.busy_s) < max(one.busy_s)


@pytest.mark.parametrize(("goal", "held"), [(50.0, 2.0), (30.0, 6.0), (100.0, 1.0), (1.0, 16.0), (20.0, 8.0)])
def test_sessions_between_two_numbers_are_counted_in_proportion(goal: float, held: float) -> None:
    assert sessions_held({1: 100.0, 2: 50.0, 4: 40.0, 8: 20.0, 16: 10.0}, goal) == held
