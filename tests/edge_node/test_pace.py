"""Block lengths and modes that follow from measured times: against fixed lengths, played out on sources of tokens."""

from __future__ import annotations

import random

import pytest

from edge_node.rounds.gate import Gate
from edge_node.rounds.pace import Pace
from edge_node.settings import Mode

LONGEST = 16


def measured(draft_s: float, wait_s: float, acceptance: float, stream_s: float = 0.1) -> Pace:
    pace = Pace()
    for mean, value in (
        (pace.draft_s, draft_s),
        (pace.block_s, wait_s),
        (pace.stream_s, stream_s),
        (pace.trip_s, wait_s),
    ):
        for _ in range(20):
            mean.add(value)
    for _ in range(2000):
        pace.acceptance.add(1.0)
    pace.acceptance.value = acceptance
    return pace


def tokens_per_s(pace: Pace, chances: list[list[float]], length: int | None) -> float:
    """Played out: blocks of `length`, or as `pace` decides, over positions with given chances."""
    rng = random.Random(5)
    seconds, tokens = 0.0, 0
    saved = 0.0  # by what was drafted while the verdict before was awaited
    for row in chances:
        count = 1
        while count < LONGEST and (count < length if length else pace.goes_on(row[:count], LONGEST)):
            count += 1
        accepted = 0
        while accepted < count and rng.random() < row[accepted]:
            accepted += 1
        drafting = count * pace.draft_s.value
        seconds += max(0.0, drafting - saved) + pace.wait_s
        tokens += accepted + 1
        right = pace.ahead and accepted == count and rng.random() < row[count % LONGEST]
        saved = min(drafting, pace.wait_s) if right else 0.0
    return tokens / seconds


@pytest.mark.parametrize("acceptance", [0.4, 0.6, 0.8, 0.95])
@pytest.mark.parametrize("draft_ms", [1, 5, 15, 40, 120])
@pytest.mark.parametrize("wait_ms", [10, 100, 300])
@pytest.mark.parametrize("ahead", [False, True])
def test_auto_is_near_the_best_fixed_length(acceptance: float, draft_ms: int, wait_ms: int, ahead: bool) -> None:
    pace = measured(draft_ms / 1e3, wait_ms / 1e3, acceptance)
    pace.ahead = ahead
    source = [[acceptance] * LONGEST] * 1000
    best = max(tokens_per_s(pace, source, length) for length in range(1, LONGEST + 1))
    assert tokens_per_s(pace, source, None) >= 0.95 * best


def test_auto_beats_every_fixed_length_where_the_drafter_knows_what_it_knows() -> None:
    rng = random.Random(1)
    source = [[rng.choice([0.3, 0.98]) for _ in range(LONGEST)] for _ in range(2000)]
    pace = measured(0.02, 0.1, 0.64)
    pace.ahead = False
    best = max(tokens_per_s(pace, source, length) for length in range(1, LONGEST + 1))
    assert tokens_per_s(pace, source, None) > 1.02 * best


def test_what_is_drafted_ahead_is_in_the_price() -> None:
    pace = measured(0.015, 0.12, 0.8)
    seconds, expected = pace.block(4)
    assert expected == pytest.approx(1 + 0.8 + 0.64 + 0.512 + 0.4096)
    assert seconds == pytest.approx(4 * 0.015 + 0.12 - 0.8**5 * 4 * 0.015)
    pace.ahead = False
    assert pace.block(4)[0] == pytest.approx(4 * 0.015 + 0.12)


def test_what_an_early_verdict_leaves_time_for_is_in_the_price() -> None:
    pace = measured(0.015, 0.12, 0.8)
    for _ in range(500):
        pace.early_right.add(1.0)
        pace.early_s.add(0.04)
    pace.early_right.value = 0.9
    saved = 0.8**5 * 0.06 + (0.9 - 0.8**5) * 0.04
    assert pace.block(4)[0] == pytest.approx(0.06 + 0.12 - saved)
    pace.early_s.value = 0.1
    assert pace.best_length(LONGEST) > measured(0.015, 0.12, 0.8).best_length(LONGEST)
    pace.early_s.value = 0.0
    assert pace.block(4) == measured(0.015, 0.12, 0.8).block(4)
    pace.early_right.value = 0.1
    pace.early_s.value = 0.04
    assert pace.block(4) == measured(0.015, 0.12, 0.8).block(4), "less often right than the drafts themselves"


def test_the_gate_streams_until_it_knows_and_then_takes_the_faster() -> None:
    for draft_s, expected in ((0.015, False), (0.3, True)):
        gate = Gate(Pace(), Mode.AUTO)
        assert gate.choose(LONGEST, None)
        gate = Gate(measured(draft_s, 0.12, 0.8), Mode.AUTO)
        assert gate.choose(LONGEST, None) is expected
        assert gate.choose(LONGEST, advised=0), "the hub asks to stream"
        assert gate.choose(LONGEST, advised=4) is expected


def test_a_streaming_node_goes_on_looking_while_it_cannot_tell() -> None:
    pace = measured(0.015, 0.24, 0.8, stream_s=0.1)
    pace.acceptance = Pace().acceptance
    gate = Gate(pace, Mode.AUTO)
    looks = 0
    while gate.choose(LONGEST, None):
        gate.streamed(1)
        assert gate.spies, "sixteen looks do not tell"
        gate.spied()
        pace.acceptance.add(looks % 5 != 2)
        looks += 1
    assert 16 < looks <= 60
    pace.acceptance = Pace().acceptance
    gate = Gate(pace, Mode.AUTO)
    for number in range(200):
        assert gate.choose(LONGEST, None)
        if gate.spies:
            gate.spied()
            pace.acceptance.add(number % 5 < 2)
            last = number
    assert last < 60, "drafts that are of no use are soon let be"


def test_blocks_that_were_computed_to_be_faster_and_are_not_get_rarer() -> None:
    pace = measured(0.015, 0.12, 0.8)
    gate = Gate(pace, Mode.AUTO)
    pauses = []
    for _ in range(4):
        assert not gate.choose(LONGEST, None)
        for _ in range(8):
            gate.speculated(0.5, 1)
        streamed = 0
        while gate.choose(LONGEST, None):
            gate.streamed(1)
            streamed += 1
        pauses.append(streamed)
    assert pauses == [64, 128, 256, 512]


def test_a_streaming_node_looks_now_and_then_what_drafts_are_worth() -> None:
    for draft_s, looked in ((0.05, range(60, 70)), (0.5, range(2, 4))):
        gate = Gate(measured(draft_s, 0.5, 0.1), Mode.AUTO)
        while gate.spies:
            gate.spied()
        looks = 0
        for _ in range(1024):
            assert gate.choose(LONGEST, None)
            gate.streamed(1)
            while gate.spies:
                gate.spied()
                looks += 1
        assert looks in looked
    assert not Gate(Pace(), Mode.SPECULATE).spies


def test_modes_that_are_chosen_stay() -> None:
    slow, fast = measured(0.5, 0.12, 0.1), measured(0.001, 0.1, 0.99)
    assert Gate(fast, Mode.STREAM).choose(LONGEST, None)
    assert not Gate(slow, Mode.SPECULATE).choose(LONGEST, None)
