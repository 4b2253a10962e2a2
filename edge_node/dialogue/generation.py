"""How an answer is generated."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from shared.errors import SettingsError
from shared.messages import Opened
from shared.sampling_parameters import Sampling


@dataclass(frozen=True)
class Generation:
    """How an answer is generated; None leaves the choice to the pair's defaults (for `seed`: to chance)."""

    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    seed: int | None = None
    max_tokens: int = 256
    stop: tuple[str, ...] = ()

    def sampling(self, defaults: Opened | Sampling) -> Sampling:
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
