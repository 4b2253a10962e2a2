"""The node's loop against a real hub session: the text is the target's in every mode, and modes change where they should."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from edge_node.link.channel import Channel
from edge_node.rounds.progress import Progress, Source
from edge_node.rounds.round_loop import RoundLoop
from edge_node.rounds.round_stats import RoundStats
from edge_node.settings import HubLoss, Mode, NodeSettings, Policy
from shared.errors import HubRefused, HubSilent, SettingsError
from shared.messages import Early, Fault, FaultCode, Verdict
from shared.sampling_parameters import Sampling
from tests.scripted_hub import ScriptedHub
from tools.rig.emulated import EmulatedDrafter, Skill

PROMPT = [5, 6, 7, 8]


def target(ids: Sequence[int]) -> int:
    """A text without an end, every id of which depends on the two before."""
    return 10 + (31 * ids[-1] + 17 * ids[-2]) % 1009


def text(tokens: int) -> list[int]:
    ids = list(PROMPT)
    for _ in range(tokens):
        ids.append(target(ids))
    return ids


def loop(hub: ScriptedHub, mode: Mode, skill: Skill, behind: Sequence[int] = (), **changes: Any) -> RoundLoop:
    """A node whose drafter has that skill, in the hub's time; `behind` stands before the text that it drafts."""
    settings = NodeSettings(name="node", mode=mode, **changes)
    drafter = EmulatedDrafter([*behind, *text(2000)], skill, seed=1, sleep=hub.clock.sleep)
    return RoundLoop(hub, settings, drafter, clock=hub.clock)  # type: ignore[arg-type]


def ask(node: RoundLoop, tokens: int) -> RoundStats:
    stats = RoundStats()
    ids = [token for step in node.answer(PROMPT, Sampling(), tokens, stats) for token in step.committed]
    assert ids == text(tokens)[len(PROMPT) :]
    assert stats.tokens == tokens
    return stats


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("policy", Policy)
@pytest.mark.parametrize("acceptance", [0.0, 0.7, 1.0])
def test_the_text_is_the_targets(mode: Mode, policy: Policy, acceptance: float) -> None:
    for ahead in (True, False):
        node = loop(ScriptedHub(target), mode, Skill(acceptance, 0.0), policy=policy, ahead=ahead)
        for tokens in (1, 2, 40, 40):
            ask(node, tokens)


@pytest.mark.parametrize("seed", range(20))
def test_the_text_is_the_targets_whatever_the_gate_does_and_whatever_is_lost(seed: int) -> None:
    rng = random.Random(seed)
    hub = ScriptedHub(target)

    def early(verdict: Verdict) -> Early | None:
        hub.advised = rng.choice([None, 0, 1, 4, 16])
        hub.lost = rng.random() < 0.01
        if verdict.accepted + len(verdict.ids) == 0 or rng.random() < 0.3:
            return None
        accepted = rng.randrange(0, verdict.accepted + 1)
        return Early(verdict.round, verdict.base, accepted, (rng.choice([verdict.ids[-1] if verdict.ids else 3, 4]),))

    hub.early = early
    node = loop(hub, Mode.AUTO, Skill(rng.random(), 0.0), credit=rng.choice([1, 2, 8]))

    def choose(longest: int, advised: int | None) -> bool:
        node.gate.streams = rng.random() < 0.2
        return node.gate.streams

    node.gate.choose = choose  # type: ignore[method-assign]
    answers = [ask(node, 60) for _ in range(3)]
    assert any(stats.streamed for stats in answers)
    assert any(draft.tokens for draft in hub.drafts)


def test_the_hub_streams_while_a_slow_drafter_takes_in_the_text() -> None:
    node = loop(ScriptedHub(target, step_s=0.004), Mode.SPECULATE, Skill(0.8, 0.05), PROMPT * 99)
    stats = RoundStats()
    answer = node.answer(PROMPT * 100, Sampling(), 100, stats)
    got = [next(answer).committed for _ in range(30)]
    assert stats.first_token_s < 0.1
    assert stats.streamed == 30, "400 ids take the drafter four seconds"
    assert all(len(ids) == 1 for ids in got)
    node.cancel()


def test_a_slow_drafter_does_not_delay_the_first_token() -> None:
    for step_s in (0.15, 0.4):
        node = loop(ScriptedHub(target, step_s=step_s), Mode.AUTO, Skill(0.8, 0.12), PROMPT * 99)
        stats = RoundStats()
        answer = node.answer(PROMPT * 100, Sampling(), 100, stats)
        next(answer)
        assert stats.first_token_s < 1.1 * step_s
        node.cancel()


def test_what_has_come_is_read_before_a_slow_drafter_goes_on() -> None:
    node = loop(ScriptedHub(target, step_s=0.04), Mode.AUTO, Skill(0.4, 0.12), PROMPT * 99)
    stats = RoundStats()
    assert sum(len(step.committed) for step in node.answer(PROMPT * 100, Sampling(), 40, stats)) == 40
    assert stats.streamed == 40
    assert stats.elapsed_s < 1.15 * 40 * 0.04 + 0.2, "it may be at a piece of work when the last token comes"


def test_auto_speculates_where_that_is_faster_and_streams_where_not() -> None:
    fast = loop(ScriptedHub(target, step_s=0.02), Mode.AUTO, Skill(0.9, 0.001))
    ask(fast, 24)
    stats = ask(fast, 60)
    assert stats.mode == "speculate"
    assert stats.streamed < 20
    slow = loop(ScriptedHub(target, step_s=0.005), Mode.AUTO, Skill(0.4, 0.02))
    ask(slow, 24)
    assert ask(slow, 60).mode == "stream"


def become(node: RoundLoop, skill: Skill) -> None:
    """Change what the node's drafter can do."""
    node._drafting._lookahead._drafter._skill = skill  # type: ignore[union-attr]


def test_auto_changes_its_mind_in_both_directions() -> None:
    hub = ScriptedHub(target, step_s=0.02)
    node = loop(hub, Mode.AUTO, Skill(0.9, 0.002))
    ask(node, 24)
    assert ask(node, 60).mode == "speculate"
    become(node, Skill(0.1, 0.04))
    ask(node, 80)
    assert ask(node, 40).mode == "stream"
    become(node, Skill(1.0, 0.001))
    for _ in range(30):
        if ask(node, 60).mode == "speculate":
            return
    raise AssertionError("a drafter that has become good is not noticed")


def test_a_hub_that_asks_to_stream_is_heard_until_it_says_otherwise() -> None:
    hub = ScriptedHub(target, step_s=0.002, advised=0)
    node = loop(hub, Mode.SPECULATE, Skill(0.9, 0.0))
    assert ask(node, 60).drafted == 0
    hub.advised = 2
    stats = ask(node, 60)
    assert stats.drafted
    assert max(len(draft.tokens) for draft in hub.drafts) == 2
    hub.advised = 0
    assert ask(node, 60).drafted <= 2
    assert ask(loop(hub, Mode.SPECULATE, Skill(0.9, 0.0), policy=Policy.FIXED), 60).drafted, "fixed is fixed"


def test_after_a_session_that_cannot_go_on_the_next_answer_begins_a_new_one() -> None:
    class Changing(ScriptedHub):
        runs = "target"

        def open(self) -> Channel:
            channel = super().open()
            return replace(channel, opened=replace(channel.opened, target=self.runs))

    hub = Changing(target)
    node = loop(hub, Mode.SPECULATE, Skill(0.9, 0.0))
    ask(node, 10)
    hub.runs = "other"
    hub._coming.append((0.0, Fault(FaultCode.UNKNOWN_SESSION)))
    with pytest.raises(HubRefused, match="runs 'other' instead of 'target'"):
        ask(node, 10)
    assert node.channel is None
    assert ask(node, 10).reopened == 0


@pytest.mark.parametrize(
    ("committed", "bits", "told"),
    [
        (5, ["1 thread", "2 threads"], 1),
        (5, ["1 thread", "1 thread"], 0),
        (5, ["1 thread", ""], 0),
        (5, ["", "2 threads"], 0),
        (5, ["1 thread", "2 threads", "2 threads"], 1),
        (5, ["1 thread", "2 threads", "1 thread"], 1),
        (5, ["1 thread", "", "2 threads"], 1),
        (5, ["", "1 thread", "2 threads"], 1),
        (0, ["1 thread", "2 threads"], 0),
    ],
)
def test_an_answer_that_goes_on_by_other_bits_says_so(committed: int, bits: list[str], told: int) -> None:
    """`bits` of each session of one answer, which moves when so many more tokens are committed; "" is an older hub's."""
    hub = ScriptedHub(target)
    node = loop(hub, Mode.STREAM, Skill(0.0, 0.0), credit=1)
    hub.bits = bits[0]
    node.open()
    stats, ids, moves = RoundStats(), list[int](), iter(bits[1:])
    answer = node.answer(PROMPT, Sampling(), 40, stats)
    while True:
        if len(ids) % 5 == 0 and len(ids) >= committed and (later := next(moves, None)) is not None:
            hub.bits = later
            hub._coming.appendleft((0.0, Fault(FaultCode.UNKNOWN_SESSION)))
        step = next(answer, None)
        if step is None:
            break
        ids += step.committed
    assert ids == text(40)[len(PROMPT) :]
    assert stats.reopened == len(bits) - 1
    assert len(stats.notices) == told
    for notice in stats.notices:
        assert notice.startswith("the answer went on at hub 'hub', which computes a little differently")


def test_a_chat_may_move_between_its_answers_without_a_word() -> None:
    hub = ScriptedHub(target)
    node = loop(hub, Mode.SPECULATE, Skill(0.9, 0.0))
    for hub.bits in ("1 thread", "2 threads"):
        hub._coming.append((0.0, Fault(FaultCode.UNKNOWN_SESSION))) if node.channel else None
        assert ask(node, 20).notices == []


def test_drafting_while_waiting_takes_time_off_and_early_verdicts_more() -> None:
    def early(verdict: Verdict) -> Early:
        return Early(verdict.round, verdict.base, verdict.accepted, verdict.ids[-1:])

    times: dict[str, float] = {}
    for name, ahead, told in (("plain", False, False), ("ahead", True, False), ("early", True, True)):
        hub = ScriptedHub(target, step_s=0.05)
        if told:
            hub.early = early
        node = loop(hub, Mode.SPECULATE, Skill(0.8, 0.008), ahead=ahead, policy=Policy.FIXED, draft_length=4)
        ask(node, 10)
        stats = ask(node, 80)
        times[name] = stats.elapsed_s - stats.first_token_s
        assert (stats.ahead > 0) == ahead
        assert (stats.early > 0) == told
    assert times["ahead"] < 0.93 * times["plain"]
    assert times["early"] < 0.93 * times["ahead"]


def test_a_lost_message_costs_less_than_a_second() -> None:
    hub = ScriptedHub(target, step_s=0.02)
    node = loop(hub, Mode.SPECULATE, Skill(0.9, 0.001))
    calm = ask(node, 60).elapsed_s
    hub.lost = 3
    assert ask(node, 60).elapsed_s < calm + 3 * 1.0


def test_a_hub_that_announces_itself_anew_is_asked_at_once() -> None:
    hub = ScriptedHub(target, step_s=0.02)
    node = loop(hub, Mode.SPECULATE, Skill(0.9, 0.001), ahead=False)
    calm = ask(node, 60).elapsed_s
    hub.lost, hub.announces_s = 1, 0.2
    assert ask(node, 60).elapsed_s < calm + 0.3


def test_whoever_waits_is_told_within_a_second() -> None:
    hub = ScriptedHub(target, step_s=0.02)
    node = loop(hub, Mode.SPECULATE, Skill(0.9, 0.001))
    ask(node, 20)
    told: list[tuple[float, str]] = []
    node.on_wait = lambda what: told.append((hub.clock.now, what))
    hub.lost, began = 1, hub.clock.now
    ask(node, 20)
    assert [what for _, what in told] == ["the hub's verdict", ""]
    assert told[0][0] - began < 0.8


def waits(node: RoundLoop) -> list[str]:
    told: list[str] = []
    node.on_wait = told.append
    return told


def away(hub: ScriptedHub, seconds: float) -> None:
    """The hub cannot be reached from now on, for so long."""
    until = hub.clock.now + seconds

    class Away:
        def __bool__(self) -> bool:
            return hub.clock.now < until

    hub.gone = Away()  # type: ignore[assignment]


def test_an_answer_waits_for_a_hub_that_is_away_and_says_so() -> None:
    hub = ScriptedHub(target, step_s=0.02)
    node = loop(hub, Mode.SPECULATE, Skill(0.9, 0.001))
    told = waits(node)
    ask(node, 20)
    assert told == []
    away(hub, 40.0)
    began = hub.clock.now
    assert ask(node, 60).reopened == 0
    assert hub.clock.now - began < 46, "it was asked again when it was back"
    assert told == ["the broker is away", ""]


def test_the_settings_may_end_an_answer_whose_hub_is_away() -> None:
    hub = ScriptedHub(target)
    node = loop(hub, Mode.SPECULATE, Skill(0.9, 0.001), on_hub_loss=HubLoss.STOP, hub_timeout_s=3.0)
    ask(node, 20)
    away(hub, 1e6)
    began = hub.clock.now
    with pytest.raises(HubSilent, match="the broker is away"):
        ask(node, 20)
    assert 3 <= hub.clock.now - began < 5
    away(hub, 0.0)
    ask(node, 20)


@pytest.mark.parametrize("acceptance", [1.0, 0.7, 0.0])
@pytest.mark.parametrize("mode", Mode)
def test_a_device_that_goes_on_alone_is_confirmed_or_amended(acceptance: float, mode: Mode) -> None:
    hub = ScriptedHub(target, step_s=0.02)
    node = loop(hub, mode, Skill(acceptance, 0.05), on_hub_loss=HubLoss.DRAFT, hub_timeout_s=1.0)
    ask(node, 20)
    stats = RoundStats()
    shown: list[Progress] = []
    ids: list[int] = []
    for step in node.answer(PROMPT, Sampling(), 100, stats):
        shown.append(step)
        ids += step.committed
        if len(ids) > 30 and not any(step.provisional for step in shown):
            away(hub, 3.0)
    assert ids == text(100)[len(PROMPT) :]
    alone = [step.provisional for step in shown if step.provisional and not step.committed]
    assert 10 < len(alone[-1]) < 69
    assert all(len(later) >= len(earlier) for earlier, later in itertools.pairwise(alone))
    if acceptance == 1.0 and mode is Mode.SPECULATE:
        assert stats.drafted >= len(alone[-1]), "what was drafted alone was verified in blocks"
        confirmed = [step for step in shown if step.provisional and step.committed]
        assert confirmed, "it stays provisional until its block is verified"


def test_an_answer_may_begin_and_end_without_a_hub_and_is_verified_later() -> None:
    hub = ScriptedHub(target, step_s=0.02)
    presumed = hub.open().opened
    settings = NodeSettings(name="node", mode=Mode.SPECULATE, on_hub_loss=HubLoss.DRAFT, hub_timeout_s=1.0, wait_s=2.0)
    drafter = EmulatedDrafter(text(2000), Skill(0.9, 0.01), seed=1, sleep=hub.clock.sleep)
    node = RoundLoop(hub, settings, drafter, clock=hub.clock, presumed=presumed)  # type: ignore[arg-type]
    told = waits(node)
    away(hub, 1e6)
    steps = list(node.answer(PROMPT, Sampling(), 40, RoundStats()))
    assert [step.committed for step in steps if step.committed] == []
    drafted = steps[-1].provisional
    assert len(drafted) == 40
    assert told[0] == "the broker is away"
    began = hub.clock.now
    next(node.answer(PROMPT, Sampling(), 40, RoundStats()))
    assert hub.clock.now - began < 1.5, "it was waited for before"
    away(hub, 0.0)
    stats = RoundStats()
    ids = [token for step in node.answer(PROMPT, Sampling(), 40, stats, drafted) for token in step.committed]
    assert ids == text(40)[len(PROMPT) :]
    assert stats.accepted > 5


def sources(node: RoundLoop, tokens: int) -> list[Source]:
    steps = list(node.answer(PROMPT, Sampling(), tokens, RoundStats()))
    assert all(len(step.sources) == len(step.committed) for step in steps)
    return [source for step in steps for source in step.sources]


def test_each_committed_token_says_where_it_is_from() -> None:
    streamed = sources(loop(ScriptedHub(target), Mode.STREAM, Skill(1.0, 0.0)), 30)
    assert streamed == [Source.TARGET] * 30
    right = sources(loop(ScriptedHub(target), Mode.SPECULATE, Skill(1.0, 0.0)), 30)
    assert set(right) == {Source.TARGET, Source.DRAFTED}
    assert right.count(Source.DRAFTED) > 20
    wrong = sources(loop(ScriptedHub(target), Mode.SPECULATE, Skill(0.0, 0.0), policy=Policy.FIXED), 30)
    assert set(wrong) == {Source.TARGET, Source.CORRECTED}
    assert wrong.count(Source.CORRECTED) > 20


def test_the_sources_are_those_that_the_figures_count() -> None:
    hub = ScriptedHub(target)
    node = loop(hub, Mode.SPECULATE, Skill(0.7, 0.0), policy=Policy.FIXED)
    stats = RoundStats()
    found = [source for step in node.answer(PROMPT, Sampling(), 200, stats) for source in step.sources]
    assert found.count(Source.DRAFTED) == stats.accepted + stats.matched
    assert found.count(Source.CORRECTED) == stats.rejected


def test_another_mode_holds_for_the_answers_to_come() -> None:
    node = loop(ScriptedHub(target), Mode.SPECULATE, Skill(1.0, 0.0))
    assert ask(node, 40).mode == "speculate"
    node.mode = Mode.STREAM
    assert ask(node, 40).streamed == 40
    node.mode = Mode.SPECULATE
    assert ask(node, 40).mode == "speculate"
    assert node.mode is Mode.SPECULATE


def test_without_a_drafter_the_mode_stays_stream() -> None:
    settings = NodeSettings(name="node", mode=Mode.STREAM)
    node = RoundLoop(ScriptedHub(target), settings, None)  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="start it with --mode auto"):
        node.mode = Mode.AUTO
    node.mode = Mode.STREAM
    assert node.mode is Mode.STREAM
