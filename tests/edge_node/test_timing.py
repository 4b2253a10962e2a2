"""What verdicts tell about time, by a clock that the test moves."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edge_node.rounds.timing import RoundTimes, Timing
from shared.messages import Draft, Finish, Verdict
from tests.clock import Clock

BLOCK = Draft(2, 10, 0, (5, 6, 7))
CREDIT = Draft(2, 10, 0, (), until=40)
PROMPT = Draft(1, 0, 0, (), until=40, append=(1, 2, 3))
VERDICT = Verdict(2, 10, 2, (9,), Finish.NO, forward_us=30_000, queued_us=10_000)


def timing() -> tuple[Timing, RoundTimes, Clock]:
    times, clock = RoundTimes(), Clock()
    return Timing(times, clock), times, clock


def counts(times: RoundTimes) -> dict[str, int]:
    return {name: mean.count for name, mean in vars(times).items()}


def test_a_block_tells_of_the_link_of_the_hub_and_of_both_together() -> None:
    timed, times, clock = timing()
    clock.sleep(1.0)
    timed.start_round(answered_next=True)
    timed.early(1.06)
    assert timed.learn(VERDICT, BLOCK, at=1.1) is None, "there was no verdict before"
    assert times.block_s.value == pytest.approx(0.1)
    assert times.hub_s.value == pytest.approx(0.04)
    assert times.trip_s.value == pytest.approx(0.06)
    assert times.early_s.value == pytest.approx(0.04)
    assert times.stream_s.count == 0


def test_a_block_without_an_early_verdict_says_so() -> None:
    timed, times, _ = timing()
    timed.early(0.01)  # of the round before
    timed.start_round(answered_next=True)
    timed.learn(VERDICT, BLOCK, at=0.1)
    assert (times.early_s.value, times.early_s.count) == (0.0, 1)


@pytest.mark.parametrize(
    ("answered", "verdict", "told"),
    [
        pytest.param(CREDIT, VERDICT, {"trip_s", "hub_s", "stream_s"}, id="the first streamed token"),
        pytest.param(None, VERDICT, {"hub_s", "stream_s"}, id="a streamed token that answers no draft"),
        pytest.param(PROMPT, VERDICT, {"trip_s"}, id="a prefill is no token's forward"),
        pytest.param(BLOCK, replace(VERDICT, forward_us=0), {"trip_s", "block_s", "early_s"}, id="without a forward"),
    ],
)
def test_what_each_verdict_tells(answered: Draft | None, verdict: Verdict, told: set[str]) -> None:
    timed, times, _ = timing()
    timed.start_round(answered_next=True)
    timed.learn(verdict, answered, at=0.1)
    assert {name for name, count in counts(times).items() if count} == told


def test_a_disturbed_round_tells_nothing_about_the_link() -> None:
    timed, times, _ = timing()
    timed.start_round(answered_next=True)
    timed.disturb()
    timed.learn(VERDICT, BLOCK, at=0.5)
    timed.start_round(answered_next=False)  # an extension of credit: what comes next was under way
    timed.learn(VERDICT, CREDIT, at=0.6)
    assert times.trip_s.count == times.block_s.count == 0
    assert times.hub_s.count == 2, "what the hub says of itself holds all the same"


def test_time_between_verdicts_counts_until_something_disturbs_it() -> None:
    timed, _, _ = timing()
    assert timed.awaits_first
    assert timed.learn(VERDICT, None, at=1.0) is None
    assert not timed.awaits_first
    assert timed.learn(VERDICT, None, at=1.3) == pytest.approx(0.3)
    timed.disturb()
    assert timed.learn(VERDICT, None, at=9.0) is None
    assert timed.learn(VERDICT, None, at=9.5) == pytest.approx(0.5)


def test_a_verdict_is_expected_after_what_the_link_and_the_hub_took_and_then_after_what_blocks_took() -> None:
    timed, times, clock = timing()
    times.trip_s.add(0.02)
    times.hub_s.add(0.05)
    timed.start_round(answered_next=True)
    assert timed.left_s == pytest.approx(0.07)
    clock.sleep(0.1)
    assert timed.left_s == pytest.approx(-0.03), "late"
    for _ in range(4):
        times.block_s.add(0.2)
    assert timed.left_s == pytest.approx(0.1)
