"""Modes of a node that take turns under the same conditions: a target of real size, and a broker behind a proxy that delays."""

from __future__ import annotations

import random
import statistics
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from edge_node.dialogue.tokenizer import ChatTokenizer, Turn
from edge_node.drafting.drafter import Drafter
from edge_node.drafts import load_drafter
from edge_node.link.hub_link import HubLink
from edge_node.link.node_link import NodeLink
from edge_node.rounds.pace import Pace
from edge_node.rounds.round_loop import RoundLoop
from edge_node.rounds.round_stats import RoundStats
from edge_node.rounds.skill import DraftSkill
from edge_node.rounds.timing import RoundTimes
from edge_node.settings import Mode, NodeSettings, Policy
from shared.pair import Pair, load_pair
from shared.running_mean import RunningMean
from shared.sampling_parameters import Sampling
from tools.bench.site import PROMPT, Rig
from tools.rig.delay_proxy import delayed
from tools.rig.emulated import EmulatedDrafter, Skill
from tools.rig.testbed import HubBed, running_hub

MODES: dict[str, dict[str, Any]] = {
    "stream": {"mode": Mode.STREAM},
    "speculate": {"mode": Mode.SPECULATE, "policy": Policy.FIXED, "ahead": False},
    "ahead": {"mode": Mode.SPECULATE, "policy": Policy.FIXED, "early": False},
    "early": {"mode": Mode.SPECULATE, "policy": Policy.FIXED},
    "auto": {"mode": Mode.AUTO},
}
THOROUGH = ((20, 15, 0.8), (20, 15, 0.9))  # rtt, draft, acceptance: those that promises are about
_REQUEST = "turn on the kitchen lights and the lamp in the hall, set the thermostat to twenty degrees, and close the garage door"
_NODE = "device"
_WARM_UP, _WARM_UP_OF_AUTO = (
    8,
    24,
)  # tokens of an answer before those measured, and of one by a node that chooses, which learns
_TOKENS, _PASSES = 48, 1  # tokens of a measured answer, and answers
_MORE_TOKENS, _MORE_PASSES = 64, 3  # the same under the conditions of THOROUGH, where luck must not decide
_HOME_PASSES = 9  # answers of the built-in pair, which take a fraction of a second each
_LONG_PROMPT = 512  # ids of the prompt by which the first token is timed
_SLOW_S = 0.12  # seconds of a drafted token while the first token is timed
_FIRST_TOKENS = 3  # first tokens that are timed in each mode
_MAX_BLOCK = 16
_LONG_S = 8.0  # seconds of an answer: a mode that takes longer is not measured again
_TRIAL_S = 0.1  # seconds of a forward by which a fixed length is chosen


@dataclass(frozen=True)
class Conditions:
    """Conditions under which all modes are compared."""

    pair: str
    rtt_ms: int
    draft_ms: float
    acceptance: float


@dataclass(frozen=True)
class Cell:
    """One mode under some conditions."""

    pair: str
    rtt_ms: int
    draft_ms: float
    acceptance: float
    mode: str
    ms_per_token: float
    ratio: float
    streamed: int  # tokens of the answers that the hub decoded alone
    alpha: float  # accepted over looked at
    block: float  # mean length
    predicted: float  # share of a round's time that drafting while waiting should save
    hits: float  # share of the blocks for which that came true: all of them and the guess of the bonus token were right
    gain: float  # share of speculate's time that this mode saves


@contextmanager
def serving(pair: str) -> Iterator[tuple[HubBed, Pair]]:
    """A hub that serves a pair of that name or shape."""
    served = Rig(pair).pair if pair != "home" else load_pair("home")
    with running_hub([_NODE], str(served.folder)) as bed:
        yield bed, served


@contextmanager
def contest(bed: HubBed, pair: Pair, group: Conditions) -> Iterator[Contest]:
    """A contest over a node's connection through a proxy that delays."""
    with delayed(bed.broker.port, group.rtt_ms) as port:
        settings = bed.node(_NODE)
        settings = replace(settings, broker=replace(settings.broker, port=port), hub_timeout_s=30.0)
        link = NodeLink(settings.broker, settings.name, pair)
        link.connect()
        try:
            yield Contest(HubLink(link), settings, pair, group)
        finally:
            link.close()


@dataclass
class _Entrant:
    """A mode with its loop and its answers so far."""

    mode: str
    loop: RoundLoop
    drafter: Drafter | None
    ms: list[float] = field(default_factory=list)  # per token, of each pass
    ratios: list[float] = field(default_factory=list)
    stats: list[RoundStats] = field(default_factory=list)


class Contest:
    """Compares the modes by the answers that come over one connection."""

    def __init__(self, link: HubLink, settings: NodeSettings, pair: Pair, group: Conditions) -> None:
        self._link, self._settings, self._pair, self._group = link, settings, pair, group
        rng = random.Random(3)
        self._tokenizer = ChatTokenizer(pair)
        if group.pair == "home":
            self._prompt = self._tokenizer.prompt([Turn("user", _REQUEST)])
        else:
            self._prompt = [rng.randrange(4, self._tokenizer.vocab_size) for _ in range(PROMPT)]
        stream = self._loop("stream", None)
        more = (group.rtt_ms, group.draft_ms, group.acceptance) in THOROUGH
        self._tokens, self._passes = (_MORE_TOKENS, _MORE_PASSES) if more else (_TOKENS, _PASSES)
        if group.pair == "home":
            self._passes = _HOME_PASSES
        self._text = [*self._prompt, *self._answer(stream, self._tokens)[0]]
        self._pass = 0
        self._entrants = [_Entrant("stream", stream, None)]
        for mode in MODES:
            if mode != "stream":
                drafter = self._drafter()
                self._entrants.append(_Entrant(mode, self._loop(mode, drafter), drafter))

    def compare(self) -> list[Cell]:
        """A cell for each mode."""
        stream, *others = self._entrants
        for entrant in self._entrants:
            self._answer(entrant.loop, _WARM_UP_OF_AUTO if entrant.mode == "auto" else _WARM_UP)
        self._time(stream)
        for number in range(self._passes):
            self._pass = number
            fresh = [e for e in others if not e.ms or e.ms[-1] * self._tokens < 1e3 * _LONG_S]
            for entrant in fresh:
                self._time(entrant)
            self._time(stream)
            for entrant in fresh:
                entrant.ratios.append(entrant.ms[-1] / statistics.mean(stream.ms[-2:]))
        # Once more with streaming alone: it must not be slower, which one turn tells badly on a busy machine.
        auto = others[-1]
        self._time(auto)
        self._time(stream)
        auto.ratios.append(auto.ms[-1] / statistics.mean(stream.ms[-2:]))
        stream.ratios.append(1.0)
        plain = statistics.median(others[0].ratios)
        return [self._cell(entrant, plain) for entrant in self._entrants]

    def first_token(self) -> float:
        """With a long prompt and a slow drafter: the time of the first token while speculating over that while streaming."""
        rng = random.Random(9)
        times: dict[str, list[float]] = {"stream": [], "auto": [], "early": []}
        for _ in range(_FIRST_TOKENS):
            for mode, each in times.items():
                prompt = [rng.randrange(4, self._tokenizer.vocab_size) for _ in range(_LONG_PROMPT)]
                drafter = EmulatedDrafter(prompt, Skill(0.8, _SLOW_S), seed=5)
                loop = self._loop(mode, None if mode == "stream" else drafter)
                stats = RoundStats()
                for _ in loop.answer(prompt, Sampling(), 4, stats):
                    pass
                loop.reset()
                each.append(stats.first_token_s)
        medians = {mode: statistics.median(each) for mode, each in times.items()}
        return max(medians["auto"], medians["early"]) / medians["stream"]

    def _time(self, entrant: _Entrant) -> None:
        if isinstance(entrant.drafter, EmulatedDrafter):
            entrant.drafter.seed = self._pass  # all modes have the same luck, and another in each pass
        ids, stats = self._answer(entrant.loop, self._tokens)
        entrant.stats.append(stats)
        if ids != self._text[len(self._prompt) :]:
            raise RuntimeError(f"the text in mode {entrant.mode} is another than streaming's")
        entrant.ms.append(1e3 * (stats.elapsed_s - stats.first_token_s) / len(ids))

    def _cell(self, entrant: _Entrant, plain: float) -> Cell:
        measured_draft_s, wait_s = entrant.loop.skill.draft_s.value, entrant.loop.times.wait_s
        home = self._group.pair == "home"
        rounds = [count for stats in entrant.stats for count in stats.accepted_by_round]
        taken = sum(stats.accepted + stats.matched for stats in entrant.stats)
        looked = taken + sum(stats.rejected for stats in entrant.stats)
        alpha = taken / looked if looked else 0.0
        draft_s = measured_draft_s if home else self._group.draft_ms / 1e3
        blocks = len(rounds)
        length = sum(stats.drafted for stats in entrant.stats) / blocks if blocks else 0.0
        hits = sum(stats.foreseen for stats in entrant.stats)
        rate = alpha if home else self._group.acceptance
        saved = rate ** (length + 1) * min(length * draft_s, wait_s) if blocks else 0.0
        ratio = statistics.median(entrant.ratios)
        return Cell(
            self._group.pair,
            self._group.rtt_ms,
            round(1e3 * draft_s, 2),
            round(rate, 3),
            entrant.mode,
            round(statistics.median(entrant.ms), 2),
            round(ratio, 3),
            sum(stats.streamed for stats in entrant.stats),
            round(alpha, 3),
            round(length, 2),
            round(saved / (length * draft_s + wait_s), 3) if blocks else 0.0,
            round(hits / blocks, 3) if blocks else 0.0,
            round(1 - ratio / plain, 3),
        )

    def _loop(self, mode: str, drafter: Drafter | None) -> RoundLoop:
        changes = dict(MODES[mode])
        if changes.get("policy") is Policy.FIXED:
            changes["draft_length"] = self._best_length()
        return RoundLoop(self._link, replace(self._settings, **changes), drafter)

    def _best_length(self) -> int:
        """The length of block that suits the group, without drafting ahead."""
        if self._group.pair == "home":
            return 8
        skill = DraftSkill(
            draft_s=RunningMean(self._group.draft_ms / 1e3), acceptance=RunningMean(self._group.acceptance)
        )
        times = RoundTimes(trip_s=RunningMean(self._group.rtt_ms / 1e3), hub_s=RunningMean(_TRIAL_S))
        return Pace(skill, times, ahead=False).best_length(_MAX_BLOCK)

    def _drafter(self) -> Drafter:
        if self._group.pair == "home":
            return load_drafter(self._pair, 1, self._tokenizer)
        return EmulatedDrafter(self._text, Skill(self._group.acceptance, self._group.draft_ms / 1e3), seed=5)

    def _answer(self, loop: RoundLoop, tokens: int) -> tuple[list[int], RoundStats]:
        stats = RoundStats()
        ids = [token for step in loop.answer(self._prompt, Sampling(), tokens, stats) for token in step.committed]
        loop.reset()
        return ids, stats
