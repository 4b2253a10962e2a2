"""How an answer is generated."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Protocol

from shared.errors import SettingsError
from shared.grammar import Grammar
from shared.sampling_parameters import Sampling


class Defaults(Protocol):
    """What a session, or a pair, says of sampling."""

    @property
    def temperature(self) -> float:
        """0 for the likeliest token."""

    @property
    def top_k(self) -> int:
        """0 for all tokens."""

    @property
    def top_p(self) -> float:
        """1 for all tokens."""


@dataclass(frozen=True)
class Generation:
    """How an answer is generated; None leaves the choice to the pair's defaults (for `seed`: to chance)."""

    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    seed: int | None = None
    max_tokens: int = 256
    stop: tuple[str, ...] = ()
    grammar: Grammar | None = None  # that the answer must keep to

    def sampling(self, defaults: Defaults) -> Sampling:
        """The parameters of one answer over those defaults. Raises SettingsError."""
        try:
            return Sampling(
                defaults.temperature if self.temperature is None else self.temperature,
                defaults.top_k if self.top_k is None else self.top_k,
                defaults.top_p if self.top_p is None else self.top_p,
                secrets.randbits(64) if self.seed is None else self.seed,
            )
        except ValueError as error:
            raise SettingsError(str(error)) from None
