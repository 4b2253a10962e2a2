"""How sure a pair is that the calls of an answer are what was meant: calibrated numbers of its manifest."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

_LEAST_NATS = 1e-6  # smaller surprisals are rounding
_WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)?")
_ITEMS = re.compile(r"[,;:\n]|\. ")  # what stands between the names of a list


@dataclass(frozen=True)
class Confidence:
    """The [confidence] table of a pair. Below `ask_below` calls are asked back about.

    With P the target's own probability of the calls' text, the share of answers that are right is 1 / (1 + e^-z) where
    z = offset + slope · ln(P / (1 - P)) (Platt scaling), fitted on requests that training never drew; z is `unlisted` more where
    a call names something that the list of the home has not, and `denied` more where the request has one of the words `denials`. The
    former can be told of the arguments `names` under a system message with one of the `titles`. `asks` has the form in which a question says the first word of a sentence about a call: "turned" becomes "turn".
    """

    offset: float
    slope: float
    ask_below: float
    asks: Mapping[str, str] = field(default_factory=dict)
    unlisted: float = 0.0
    names: tuple[str, ...] = ()
    titles: tuple[str, ...] = ()
    denied: float = 0.0
    denials: tuple[str, ...] = ()

    def of(self, nats: float, *, is_unlisted: bool = False, is_denied: bool = False) -> float:
        """The chance, 0 to 1, that calls are right whose text has so many nats of surprisal in all."""
        nats = max(nats, _LEAST_NATS)
        log_odds = -nats - math.log(-math.expm1(-nats))
        z = self.offset + self.slope * log_odds + self.unlisted * is_unlisted + self.denied * is_denied
        return 1 / (1 + math.exp(-z)) if z > -500 else 0.0

    def is_unlisted(self, arguments: Mapping[str, Any], system: str) -> bool:
        """Whether a call's arguments name something that the system message lists nowhere, though it lists the home."""
        lower = system.casefold()
        if not any(f"{title}:" in lower for title in self.titles):
            return False
        listed = {item.strip() for item in _ITEMS.split(lower)}
        named = (arguments.get(name) for name in self.names)
        return any(isinstance(name, str) and name.strip().casefold() not in listed for name in named)

    def is_denied(self, request: str) -> bool:
        """Whether a request has a word that says "not"."""
        return not set(self.denials).isdisjoint(_WORD.findall(request.casefold().replace("\u2019", "'")))

    def question(self, said: str) -> str:
        """What is asked in place of a sentence about calls: "Turned on the lamp." becomes "Did you mean: turn on the lamp?"."""
        words = said.strip().rstrip(".!").split()
        if not words:
            return "I am not sure what you mean. Please say it in other words."
        for at, word in enumerate(words):
            if at == 0 or words[at - 1] == "and":
                words[at] = self.asks.get(word.lower(), word)
        return f"Did you mean: {' '.join(words)}?"
