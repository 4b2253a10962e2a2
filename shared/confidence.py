"""How sure a pair is that the calls of an answer are what was meant: calibrated numbers of its manifest."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

_LEAST_NATS = 1e-6  # smaller surprisals are rounding
_WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)?")


@dataclass(frozen=True)
class Confidence:
    """The [confidence] table of a pair. Below `ask_below` calls are asked back about.

    With P the target's own probability of the calls' text, the share of answers that are right is 1 / (1 + e^-z) where
    z = offset + slope · ln(P / (1 - P)) (Platt scaling), fitted on requests that training never drew. However sure that is, calls are
    asked back about where the request has one of the words or phrases `denials`, outside of the phrases `not_denials`. `asks` has the form in which a question says the first word of a sentence about a call: "turned" becomes "turn".
    """

    offset: float
    slope: float
    ask_below: float
    asks: Mapping[str, str] = field(default_factory=dict)
    denials: tuple[str, ...] = ()
    not_denials: tuple[str, ...] = ()

    def of(self, nats: float) -> float:
        """The chance, 0 to 1, that calls are right whose text has so many nats of surprisal in all."""
        nats = max(nats, _LEAST_NATS)
        log_odds = -nats - math.log(-math.expm1(-nats))
        z = self.offset + self.slope * log_odds
        return 1 / (1 + math.exp(-z)) if z > -500 else 0.0

    def is_denied(self, request: str) -> bool:
        """Whether a request has words that say "not", and mean it."""
        words = _WORD.findall(request.casefold().replace("\u2019", "'"))
        said = f" {' '.join(words)} "
        for phrase in self.not_denials:
            said = said.replace(f" {phrase} ", " ")
        return any(f" {denial} " in said for denial in self.denials)

    def asks_back(self, sure: float | None, request: str) -> bool:
        """Whether calls that are so sure, in answer to that request, are asked back about; None is not known."""
        return self.is_denied(request) or (sure is not None and sure < self.ask_below)

    def question(self, said: str) -> str:
        """What is asked in place of a sentence about calls: "Turned on the lamp." becomes "Did you mean: turn on the lamp?"."""
        words = said.strip().rstrip(".!").split()
        if not words:
            return "I am not sure what you mean. Please say it in other words."
        for at, word in enumerate(words):
            if at == 0 or words[at - 1] == "and":
                words[at] = self.asks.get(word.lower(), word)
        return f"Did you mean: {' '.join(words)}?"
