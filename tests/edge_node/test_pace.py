"""Block lengths and modes that follow from measured times: against fixed lengths, played out on sources of tokens."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from functools import cache

import pytest

from edge_node.drafting.drafter import Guess
from edge_node.drafting.drift import Drift
from edge_node.rounds.gate import Gate
from edge_node.rounds.pace import Pace
from edge_node.rounds.skill import DraftSkill
from edge_node.rounds.timing import RoundTimes
from edge_node.settings import Mode

LONGEST = 16


@dataclass
class Measured:
    """What a node has measured."""

    skill: DraftSkill = field(default_factory=DraftSkill)
    times: RoundTimes = field(default_factory=RoundTimes)

    def pace(self, *, ahead: bool = True) -> Pace:
        return Pace(self.skill, self.times, ahead=ahead)


def measured(draft_s: float, wait_s: float, acceptance: float, stream_s: float = 0.1) -> Measured:
    found = Measured()
    for mean, value in (
        (found.skill.draft_s, draft_s),
        (found.times.block_s, wait_s),
        (found.times.stream_s, stream_s),
        (found.times.trip_s, wait_s),
    ):
        for _ in range(20):
            mean.add(value)
    for _ in range(2000):
        found.skill.acceptance.add(1.0)
    found.skill.acceptance.value = acceptance
    return found


def tokens_per_s(found: Measured, chances: list[list[float]], length: int | None, *, ahead: bool) -> float:
    """Played out: blocks of `length`, or as a pace decides, over positions with given chances."""
    rng = random.Random(5)
    pace = found.pace(ahead=ahead)
    goes_on = cache(lambda chances: pace.goes_on(chances, LONGEST))
    seconds, tokens = 0.0, 0
    saved = 0.0  # by what was drafted while the verdict before was awaited
    for row in chances:
        count = 1
        while count < LONGEST and (count < length if length else goes_on(tuple(row[:count]))):
            count += 1
        accepted = 0
        while accepted < count and rng.random() < row[accepted]:
            accepted += 1
        drafting = count * found.skill.draft_s.value
        seconds += max(0.0, drafting - saved) + found.times.wait_s
        tokens += accepted + 1
        right = ahead and accepted == count and rng.random() < row[count % LONGEST]
        saved = min(drafting, found.times.wait_s) if right else 0.0
    return tokens / seconds


@pytest.mark.parametrize("acceptance", [0.4, 0.6, 0.8, 0.95])
@pytest.mark.parametrize("draft_ms", [1, 5, 15, 40, 120])
@pytest.mark.parametrize("wait_ms", [10, 100, 300])
@pytest.mark.parametrize("ahead", [False, True])
def test_auto_is_near_the_best_fixed_length(acceptance: float, draft_ms: int, wait_ms: int, ahead: bool) -> None:
    found = measured(draft_ms / 1e3, wait_ms / 1e3, acceptance)
    source = [[acceptance] * LONGEST] * 1000
    best = max(tokens_per_s(found, source, length, ahead=ahead) for length in range(1, LONGEST + 1))
    assert tokens_per_s(found, source, None, ahead=ahead) >= 0.95 * best


def test_auto_beats_every_fixed_length_where_the_drafter_knows_what_it_knows() -> None:
    rng = random.Random(1)
    source = [[rng.choice([0.3, 0.98]) for _ in range(LONGEST)] for _ in range(2000)]
    found = measured(0.02, 0.1, 0.64)
    best = max(tokens_per_s(found, source, length, ahead=False) for length in range(1, LONGEST + 1))
    assert tokens_per_s(found, source, None, ahead=False) > 1.02 * best


def test_what_is_drafted_ahead_is_in_the_price() -> None:
    found = measured(0.015, 0.12, 0.8)
    seconds, expected = found.pace().block(4)
    assert expected == pytest.approx(1 + 0.8 + 0.64 + 0.512 + 0.4096)
    assert seconds == pytest.approx(4 * 0.015 + 0.12 - 0.8**5 * 4 * 0.015)
    assert found.pace(ahead=False).block(4)[0] == pytest.approx(4 * 0.015 + 0.12)


def test_what_an_early_verdict_leaves_time_for_is_in_the_price() -> None:
    found, plain = measured(0.015, 0.12, 0.8), measured(0.015, 0.12, 0.8).pace()
    right, early_s = found.skill.early_right, found.times.early_s
    for _ in range(500):
        right.add(1.0)
        early_s.add(0.04)
    right.value = 0.9
    saved = 0.8**5 * 0.06 + (0.9 - 0.8**5) * 0.04
    assert found.pace().block(4)[0] == pytest.approx(0.06 + 0.12 - saved)
    early_s.value = 0.1
    assert found.pace().best_length(LONGEST) > plain.best_length(LONGEST)
    early_s.value = 0.0
    assert found.pace().block(4) == plain.block(4)
    right.value = 0.1
    early_s.value = 0.04
    assert found.pace().block(4) == plain.block(4), "less often right than the drafts themselves"


def test_the_gate_streams_until_it_knows_and_then_takes_the_faster() -> None:
    for draft_s, expected in ((0.015, False), (0.3, True)):
        gate = Gate(Measured().pace(), Mode.AUTO)
        assert gate.choose(LONGEST, None)
        gate = Gate(measured(draft_s, 0.12, 0.8).pace(), Mode.AUTO)
        assert gate.choose(LONGEST, None) is expected
        assert gate.choose(LONGEST, advised=0), "the hub asks to stream"
        assert gate.choose(LONGEST, advised=4) is expected


def test_a_streaming_node_goes_on_looking_while_it_cannot_tell() -> None:
    found = measured(0.015, 0.24, 0.8, stream_s=0.1)
    found.skill.acceptance = DraftSkill().acceptance
    gate = Gate(found.pace(), Mode.AUTO)
    probes = 0
    while gate.choose(LONGEST, None):
        gate.streamed(1)
        assert gate.wants_probe, "sixteen probes do not tell"
        gate.probed()
        found.skill.acceptance.add(probes % 5 != 2)
        probes += 1
    assert 16 < probes <= 60
    found.skill.acceptance = DraftSkill().acceptance
    gate = Gate(found.pace(), Mode.AUTO)
    for number in range(200):
        assert gate.choose(LONGEST, None)
        if gate.wants_probe:
            gate.probed()
            found.skill.acceptance.add(number % 5 < 2)
            last = number
    assert last < 60, "drafts that are of no use are soon let be"


def test_blocks_that_were_computed_to_be_faster_and_are_not_get_rarer() -> None:
    gate = Gate(measured(0.015, 0.12, 0.8).pace(), Mode.AUTO)
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
    for draft_s, probed in ((0.05, range(60, 70)), (0.5, range(2, 4))):
        gate = Gate(measured(draft_s, 0.5, 0.1).pace(), Mode.AUTO)
        while gate.wants_probe:
            gate.probed()
        probes = 0
        for _ in range(1024):
            assert gate.choose(LONGEST, None)
            gate.streamed(1)
            while gate.wants_probe:
                gate.probed()
                probes += 1
        assert probes in probed
    assert not Gate(Measured().pace(), Mode.SPECULATE).wants_probe


def test_modes_that_are_chosen_stay() -> None:
    slow, fast = measured(0.5, 0.12, 0.1).pace(), measured(0.001, 0.1, 0.99).pace()
    assert Gate(fast, Mode.STREAM).choose(LONGEST, None)
    assert not Gate(slow, Mode.SPECULATE).choose(LONGEST, None)


def test_while_the_drafts_acceptance_has_fallen_the_hub_streams_and_probes_go_on() -> None:
    drift = Drift("default:0", "model", 0.95)
    gate = Gate(measured(0.015, 0.12, 0.8).pace(), Mode.AUTO, drift)
    assert not gate.choose(LONGEST, None), "blocks are faster here"
    while not drift.fallen:
        drift.learn(Guess(1, 0.9, "model"), 2, greedy=True)
    assert gate.choose(LONGEST, None)
    while gate.wants_probe:
        gate.probed()
    gate.streamed(64)
    assert gate.wants_probe
    while drift.fallen:
        drift.learn(Guess(1, 0.9, "model"), 1, greedy=True)
    assert not gate.choose(LONGEST, None)


def test_what_the_user_has_chosen_stays_when_the_acceptance_falls() -> None:
    drift = Drift("default:0", "model", 0.95)
    while not drift.fallen:
        drift.learn(Guess(1, 0.9, "model"), 2, greedy=True)
    pace = measured(0.015, 0.12, 0.8).pace()
    assert not Gate(pace, Mode.SPECULATE, drift).choose(LONGEST, None)
    assert not Gate(pace, Mode.AUTO, drift, looks_up_instead=True).choose(LONGEST, None), "the drafter leaves it out"
