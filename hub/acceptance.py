"""How often a session's drafted tokens are accepted, from its last rounds."""

from __future__ import annotations

from dataclasses import dataclass

_KEPT = 0.98  # of the weight of older rounds, at each new one: with less, luck alone gives some sessions longer blocks
_PRIOR_HITS, _PRIOR_TRIES = 3.0, 4.0  # what is assumed of a session that has drafted nothing yet


@dataclass
class Acceptance:
    """The share of the tokens the target looked at, newer rounds counting more."""

    hits: float = 0.0
    tries: float = 0.0

    def add(self, accepted: int, rejected: bool) -> None:
        """Count a round: that many tokens accepted, and whether the next drafted one was rejected."""
        self.hits = _KEPT * self.hits + accepted
        self.tries = _KEPT * self.tries + accepted + rejected

    @property
    def rate(self) -> float:
        """The chance that a drafted token is accepted if those before it were."""
        return (self.hits + _PRIOR_HITS) / (self.tries + _PRIOR_TRIES)
