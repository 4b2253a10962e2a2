"""How often a drafter is right when it is so and so sure: learnt from verdicts, and kept from run to run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edge_node.drafting.drafter import Guess
from edge_node.drafting.kept import keep, read_kept
from shared.cache import cache_folder

_BINS = 10  # ranges of confidence, alike in width
_PRIOR_TRIES = 8.0  # tokens looked at that a drafter's own confidence counts for
_FIRST_RATE = 0.7  # assumed of a drafter that nothing is known of
_MOST_TRIES = 2_000.0  # tokens looked at in a bin; what is older fades
_MOST_SOURCES = 16  # drafters in a file


class Calibration:
    """Chances of acceptance by drafter and confidence."""

    def __init__(self) -> None:
        self._counts: dict[str, list[list[float]]] = {}  # by source: of each bin, tokens accepted and tokens looked at

    def chance(self, guess: Guess) -> float:
        """The chance that a token is accepted, those before it being right."""
        hits, tries = self._of(guess.source)[_bin(guess.confidence)]
        return (hits + guess.confidence * _PRIOR_TRIES) / (tries + _PRIOR_TRIES)

    def rate(self, source: str) -> float:
        """The share of all tokens of a drafter that were accepted."""
        counts = self._of(source)
        hits, tries = sum(count[0] for count in counts), sum(count[1] for count in counts)
        return (hits + _FIRST_RATE * _PRIOR_TRIES) / (tries + _PRIOR_TRIES)

    def learn(self, guess: Guess, written: int) -> None:
        """Take in what the target wrote in the place of a guess."""
        count = self._of(guess.source)[_bin(guess.confidence)]
        count[0] += guess.token == written
        count[1] += 1
        if count[1] > _MOST_TRIES:
            count[:] = (number / 2 for number in count)
        if guess.aside is not None:
            self.learn(guess.aside, written)

    @classmethod
    def load(cls, file: Path) -> Calibration:
        """What was kept in `file`; nothing where it is missing or is no such file."""
        return read_kept(file, "the calibration", cls._read, cls())

    def save(self, file: Path) -> None:
        """Keep it in `file`, which is replaced as a whole; a device without room for it goes on without."""
        keep(file, self._counts)

    @classmethod
    def _read(cls, kept: Any) -> Calibration:
        calibration = cls()
        for source, counts in list(kept.items())[:_MOST_SOURCES]:
            pairs = [[float(hits), float(tries)] for hits, tries in counts]
            if len(pairs) != _BINS or not all(0 <= hits <= tries <= _MOST_TRIES for hits, tries in pairs):
                raise ValueError("its numbers are none that this version keeps")
            calibration._counts[source] = pairs
        return calibration

    def _of(self, source: str) -> list[list[float]]:
        return self._counts.setdefault(source, [[0.0, 0.0] for _ in range(_BINS)])


def kept_in(name: str) -> Path:
    """Where the calibration of a drafter of that name is kept."""
    return cache_folder() / f"calibration-{name}.json"


def _bin(confidence: float) -> int:
    return max(0, min(int(confidence * _BINS), _BINS - 1))
