"""Whether a draft model still says what the target says as often as its pair's manifest promises.

A verdict tells of the accepted tokens of a block, which were right, and of at most one that was refuted; those behind it tell nothing.
Tokens of greedy answers alone are compared with the promise, which is of greedy ids.

The rule is Page's test (a CUSUM). With a the promised acceptance, the draft has kept it at a - 0.05 and above, and broken it at a - 0.20 and
below. Each token adds log P(token | broken) / P(token | kept) to a score that is never below 0; at log(10^6) the acceptance has fallen.
As long as tokens are right or wrong independently of each other, the chance of a false alarm in n tokens
is at most n * 10^-6, and their mean number until one is 10^6 at least (Lorden). Where errors come in bursts it is more: docs/tuning.md has what was
measured. After a fall the same test runs the other way round, to log(10^3): the draft has recovered. What is between both rates may be
taken for either, sooner or later.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, field
from math import log
from pathlib import Path
from typing import Any

from edge_node.drafting.drafter import Guess
from edge_node.drafting.kept import keep, read_kept
from shared.cache import cache_folder
from shared.running_mean import RunningMean

_log = logging.getLogger(__name__)

KEPT = (
    0.05  # below the promise: of a draft that has kept it, since a household says other things than whoever measured it
)
BROKEN = 0.20  # below the promise: of a draft that has not
_FALL = log(1e6)  # score at which a draft has fallen
_RECOVERY = log(1e3)  # score at which it has recovered: being wrong about this costs little
_LEAST = 0.01  # chance of a right token of a draft that has broken its promise
_RATE = 1 / 256  # weight of a new token in the shares that are told
_MOST_DRAFTS = 16  # in a file


@dataclass
class _State:
    """What is kept from run to run."""

    promised: float | None
    fallen: bool = False
    score: float = 0.0
    right: int = 0  # since the score was 0 last
    looked_at: int = 0  # the same
    greedy: RunningMean = field(default_factory=lambda: RunningMean(rate=_RATE))
    sampled: RunningMean = field(default_factory=lambda: RunningMean(rate=_RATE))

    def kept(self) -> dict[str, Any]:
        """For a file."""
        return {
            "promised": self.promised,
            "fallen": self.fallen,
            "score": self.score,
            "since": [self.right, self.looked_at],
            "greedy": [self.greedy.value, self.greedy.count],
            "sampled": [self.sampled.value, self.sampled.count],
        }

    @classmethod
    def read(cls, kept: Any) -> _State:
        """What was kept. Raises ValueError, KeyError or TypeError for what was not."""
        right, looked_at = map(int, kept["since"])
        means = [
            RunningMean(float(value), _RATE, count=int(count)) for value, count in (kept["greedy"], kept["sampled"])
        ]
        state = cls(kept["promised"], kept["fallen"] is True, float(kept["score"]), right, looked_at, *means)
        shares_fit = all(0 <= mean.value <= 1 and mean.count >= 0 for mean in means)
        if not (0 <= state.score <= _FALL and 0 <= right <= looked_at and shares_fit):
            raise ValueError("its numbers are none that this version keeps")
        return state


class Drift:
    """Of one version of a draft; conversations that share the draft share it, each on its own thread."""

    def __init__(self, version: str, source: str, promised: float | None, file: Path | None = None) -> None:
        """`version` names the draft and its file's contents, `source` is the model's in its guesses.

        `promised` is the manifest's acceptance, from 0 to 1; without one nothing can fall. What was kept in `file` is gone on with.
        """
        self.version, self.promised = version, promised
        self._source, self._file = source, file
        self._lock = threading.Lock()
        self._gains = None if promised is None or promised - BROKEN < _LEAST else _gains(promised)
        state = self._kept().get(version)
        self._state = state if state is not None and state.promised == promised else _State(promised)

    @property
    def fallen(self) -> bool:
        """Whether the acceptance is below what was promised."""
        return self._state.fallen

    @property
    def figures(self) -> dict[str, Any]:
        """For programs: shares from 0 to 1 of about the last 256 tokens, None where nothing is known, and how many there were in all."""
        state = self._state
        return {
            "version": self.version,
            "promised": self.promised,
            "acceptance": _share(state.greedy),
            "tokens": state.greedy.count,
            "acceptance_sampled": _share(state.sampled),
            "tokens_sampled": state.sampled.count,
            "fallen": state.fallen,
        }

    @property
    def told(self) -> str:
        """The comparison for people, and what to do where it is bad."""
        state = self._state
        if not state.greedy.count:
            return f"no greedy token of draft {self.version} was verified yet"
        few = min(state.greedy.count, round(1 / _RATE))
        told = f"draft {self.version} says {state.greedy.value:.0%} of the last {few} greedy tokens as the target does"
        if self.promised is None:
            return told
        return f"{told}, and its manifest promises {self.promised:.0%}"

    @property
    def problem(self) -> str:
        """What to do, in a sentence, where the acceptance has fallen; else nothing."""
        if not self.fallen:
            return ""
        return (
            f"{self.told}; if the hub's target or the draft's file was changed, fetch the pair again (sled-node pull) or make it anew "
            "(sled-hub pair create); if your requests are of another kind, make it with --text"
        )

    def learn(self, guess: Guess, written: int, *, greedy: bool) -> None:
        """Take in what the target wrote in the place of a guess, if it is one of the model's."""
        if guess.source != self._source:
            return
        right = guess.token == written
        with self._lock:
            (self._state.greedy if greedy else self._state.sampled).add(right)
            if greedy and self._gains is not None:
                self._test(right, self._gains)

    def save(self) -> None:
        """Keep it beside what is known of other drafts, of which those that were kept last remain."""
        if self._file is None:
            return
        others = [(version, state) for version, state in self._kept().items() if version != self.version]
        keep(self._file, {v: state.kept() for v, state in [*others, (self.version, self._state)][-_MOST_DRAFTS:]})

    def _kept(self) -> dict[str, _State]:
        nothing: dict[str, _State] = {}
        return nothing if self._file is None else read_kept(self._file, "what drafts were accepted", _states, nothing)

    def _test(self, right: bool, gains: tuple[float, float]) -> None:
        state = self._state
        gain = gains[right]
        state.score = max(0.0, state.score + (-gain if state.fallen else gain))
        state.right, state.looked_at = state.right + right, state.looked_at + 1
        if state.score == 0.0:
            state.right = state.looked_at = 0
        elif state.score >= (_RECOVERY if state.fallen else _FALL):
            state.fallen, state.score = not state.fallen, 0.0
            # What came before the change says nothing of now.
            state.greedy = RunningMean(state.right / state.looked_at, _RATE, count=state.looked_at)
            state.right = state.looked_at = 0
            if state.fallen:
                _log.warning("%s", self.problem)
            else:
                _log.warning("its acceptance is back: %s", self.told)


def drift_file(pair: str) -> Path:
    """Where it is kept what was accepted of the drafts of a pair of that name."""
    return cache_folder() / f"acceptance-{pair}.json"


def _gains(promised: float) -> tuple[float, float]:
    """What a wrong token, and a right one, adds to the score."""
    kept, broken = promised - KEPT, promised - BROKEN
    return log((1 - broken) / (1 - kept)), log(broken / kept)


def _states(kept: Any) -> dict[str, _State]:
    return {str(version): _State.read(each) for version, each in list(kept.items())[:_MOST_DRAFTS]}


def _share(mean: RunningMean) -> float | None:
    return round(mean.value, 3) if mean.count else None
