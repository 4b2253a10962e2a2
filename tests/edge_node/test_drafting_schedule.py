"""When the drafter works: tables of what is awaited and what is set, with a real lookahead over a drafter that counts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from edge_node.drafting.calibration import Calibration
from edge_node.drafting.drafter import Guess
from edge_node.rounds.answer import AnswerInProgress
from edge_node.rounds.block_length import BlockLength
from edge_node.rounds.drafting_schedule import DraftingSchedule
from edge_node.rounds.gate import Gate
from edge_node.rounds.lookahead import Lookahead
from edge_node.rounds.pace import Pace
from edge_node.rounds.round_stats import RoundStats
from edge_node.rounds.session import NodeSession
from edge_node.rounds.skill import DraftSkill
from edge_node.rounds.timing import RoundTimes
from edge_node.settings import Mode, NodeSettings, Policy
from shared.messages import Draft, Early, Finish, Verdict
from shared.running_mean import RunningMean
from shared.sampling_parameters import Sampling
from tests.clock import Clock

PROMPT = [7, 8, 9]


class Counting:
    """Says the next whole number after `piece_s` seconds each, up to `end`."""

    context = 4096

    def __init__(self, clock: Clock, piece_s: float, end: int) -> None:
        self._clock, self._piece_s, self._end = clock, piece_s, end

    def draft(self, ids: Sequence[int], _: Sampling) -> Iterator[Guess]:
        for token in range(ids[-1] + 1, self._end):
            self._clock.sleep(self._piece_s)
            yield Guess(token, 0.9, "counting")


class Bed:
    """A node in the middle of an answer to PROMPT, whose hub needs a second for a verdict."""

    def __init__(self, mode: Mode = Mode.SPECULATE, piece_s: float = 0.01, end: int = 1000, **settings: Any) -> None:
        self.clock = Clock()
        changes = {"policy": Policy.FIXED, "draft_length": 4, **settings}
        node = NodeSettings(name="node", mode=mode, **changes)
        skill, times = DraftSkill(), RoundTimes(trip_s=RunningMean(1.0))
        pace = Pace(skill, times, ahead=node.ahead)
        length = BlockLength(node, pace)
        self.lookahead = Lookahead(Counting(self.clock, piece_s, end), Calibration(), skill, self.clock)
        self.schedule = DraftingSchedule(node, length, self.lookahead)
        self.gate = Gate(pace, mode)
        self.session = NodeSession()
        self.answer = AnswerInProgress(node, pace, times, Sampling(), 100, RoundStats(), self.clock)
        self.send(self.session.compose(append=PROMPT, until=len(PROMPT) + 1))
        self.schedule.begin(self.session.ids, Sampling())

    def send(self, draft: Draft) -> None:
        self.answer.sending(draft, len(self.session), 0)

    def commit(self, accepted: int, *ids: int) -> None:
        verdict = Verdict(self.session.round, len(self.session), accepted, ids, Finish.NO)
        count = len(self.session.receive(verdict).committed)
        self.answer.timing.learn(verdict, None, self.clock())
        self.schedule.settle(self.session.ids, count)

    def send_block(self, room: int = 50) -> None:
        self.send(self.session.compose(tokens=self.schedule.block(room).tokens))

    def work(self) -> int:
        """Work until there is none to be done; how many tokens the trunk has then."""
        for _ in range(200):
            if not self.schedule.work(self.answer, self.session, self.gate):
                return len(self.lookahead.trunk)
        raise AssertionError("there is always more to do")


def test_a_block_holds_what_is_there_and_what_is_drafted_on() -> None:
    bed = Bed()
    bed.commit(0, 10)
    block = bed.schedule.block(50)
    assert (block.tokens, block.ahead) == ((11, 12, 13, 14), 0)
    bed.send(bed.session.compose(tokens=block.tokens))
    bed.work()
    bed.commit(4, 15)
    block = bed.schedule.block(50)
    assert (block.tokens, block.ahead) == ((16, 17, 18, 19), 4), "all of it was drafted while waiting"


@pytest.mark.parametrize(("room", "tokens"), [(50, 4), (2, 2), (1, 1), (0, 0)])
def test_a_block_fits_into_the_room_that_the_answer_has(room: int, tokens: int) -> None:
    bed = Bed()
    bed.commit(0, 10)
    assert len(bed.schedule.block(room).tokens) == tokens


def test_a_drafter_without_an_idea_makes_a_short_block() -> None:
    bed = Bed(end=12)
    bed.commit(0, 10)
    assert bed.schedule.block(50).tokens == (11,)


@pytest.mark.parametrize(
    ("changes", "tokens"),
    [
        pytest.param({}, 9, id="the block, the bonus token and the next block"),
        pytest.param({"ahead": False}, 4, id="nothing beyond the block"),
    ],
)
def test_while_a_block_is_awaited(changes: dict[str, Any], tokens: int) -> None:
    bed = Bed(**changes)
    bed.commit(0, 10)
    bed.send_block()
    assert bed.work() == tokens


@pytest.mark.parametrize(
    ("changes", "tokens"),
    [
        pytest.param({}, 5, id="what the hub streams, and the block behind it"),
        pytest.param({"ahead": False}, 1, id="the text is taken in"),
    ],
)
def test_while_the_first_tokens_are_streamed(changes: dict[str, Any], tokens: int) -> None:
    assert Bed(**changes).work() == tokens


def test_a_slow_drafter_waits_for_the_first_token() -> None:
    bed = Bed(piece_s=0.2)
    assert bed.schedule.work(bed.answer, bed.session, bed.gate), "nobody knows yet that it is slow"
    assert not bed.schedule.work(bed.answer, bed.session, bed.gate)
    bed.commit(0, 10)
    bed.send(bed.session.compose(until=20))
    assert bed.work() > 0


@pytest.mark.parametrize(("mode", "probes"), [(Mode.AUTO, 1), (Mode.STREAM, 0)])
def test_beside_a_stream_one_token_is_drafted_at_a_time_to_be_judged(mode: Mode, probes: int) -> None:
    bed = Bed(mode)
    assert bed.work() == probes
    bed.commit(0, 10)
    assert bed.work() == probes, "the next one, when the last has been judged"


def test_a_stream_is_probed_only_while_the_gate_wants_it() -> None:
    bed = Bed(Mode.AUTO)
    while bed.gate.wants_probe:
        bed.gate.probed()
    assert bed.work() == 0


@pytest.mark.parametrize(
    ("early", "taken"),
    [
        pytest.param(Early(2, 4, 1, (60,)), True, id="about the round under way"),
        pytest.param(Early(1, 4, 1, (60,)), False, id="about an older round"),
        pytest.param(Early(2, 3, 1, (60,)), False, id="about another length"),
        pytest.param(Early(2, 4, 1, ()), False, id="without the target's own token"),
        pytest.param(Early(2, 4, 1, (60, 61)), False, id="with more than one"),
    ],
)
def test_early_verdicts(early: Early, taken: bool) -> None:
    bed = Bed()
    bed.commit(0, 10)
    bed.send_block()
    assert bed.schedule.take_early(bed.answer, early, bed.clock(), bed.session) is taken
    bed.work()
    bed.commit(1, 60)
    assert bool(bed.lookahead.trunk) is taken, "what it leads to was drafted, and commits nothing by itself"


def test_early_verdicts_can_be_turned_off_and_mean_nothing_when_the_verdict_is_there() -> None:
    bed = Bed(early=False)
    bed.commit(0, 10)
    bed.send_block()
    assert not bed.schedule.take_early(bed.answer, Early(2, 4, 1, (60,)), bed.clock(), bed.session)
    bed = Bed()
    bed.commit(0, 10)
    bed.send_block()
    bed.commit(4, 15)
    assert not bed.schedule.take_early(bed.answer, Early(2, 4, 1, (60,)), bed.clock(), bed.session)
