"""The parameters of sampling, apart from the rule: programs that draw nothing need no numpy for them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from shared.fields import MAX_POSITION

MAX_VOCAB = 2**20
WORD = 2**64 - 1


@dataclass(frozen=True, slots=True)
class Sampling:
    """How an answer is sampled. Raises ValueError for a value out of range or of another type.

    temperature: 0 to 100; 0 takes the likeliest token and ignores the rest.
    top_k: keep the k likeliest tokens; 0 keeps all.
    top_p: then keep the fewest of the likeliest that hold this share of what is left; 1 keeps all.
    seed: 64 bits. The same seed, prompt and target give the same text.
    grammar: 64 bits by which the grammar is known that the answer keeps to; 0 for none.
    grammar_from: where in the session's ids the text begins that keeps to it.
    """

    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    seed: int = 0
    grammar: int = 0
    grammar_from: int = 0

    def __post_init__(self) -> None:
        temperature, top_p = _real(self.temperature), _real(self.top_p)
        if not 0 <= temperature <= 100:
            raise ValueError("temperature must be a number from 0 to 100: use 0 for the likeliest token")
        if type(self.top_k) is not int or not 0 <= self.top_k <= MAX_VOCAB:
            raise ValueError(f"top_k must be a whole number from 0 to {MAX_VOCAB}: use 0 to keep every token")
        if not 0 < top_p <= 1:
            raise ValueError("top_p must be a number above 0 and at most 1: use 1 to keep every token")
        if type(self.seed) is not int or not 0 <= self.seed <= WORD:
            raise ValueError(f"seed must be a whole number from 0 to {WORD}: leave it out to use 0")
        if type(self.grammar) is not int or not 0 <= self.grammar <= WORD:
            raise ValueError(f"grammar must be a whole number from 0 to {WORD}: use 0 for none")
        if type(self.grammar_from) is not int or not 0 <= self.grammar_from <= MAX_POSITION:
            raise ValueError(f"grammar_from must be a whole number from 0 to {MAX_POSITION}")
        object.__setattr__(self, "temperature", temperature)
        object.__setattr__(self, "top_p", top_p)


def _real(value: Any) -> float:
    """Return an int or a float as a float; NaN, which fails every range test, for anything else."""
    if type(value) not in (int, float) or abs(value) > 1e3:
        return math.nan
    return float(value)
