"""How often drafted tokens are accepted: of a session, on the ground of what all sessions of the hub had of late."""

from __future__ import annotations

from dataclasses import dataclass

_KEPT = 0.98  # of the weight of older rounds, at each new one
_KEPT_OF_ALL = 0.999
_PRIOR_TRIES = (
    16.0  # that a session is believed to have had, with the hub's rate: with few of its own, luck would decide
)
_FIRST_RATE = 0.75  # assumed of a hub that has verified nothing yet
_FIRST_TRIES = 4.0


@dataclass
class Acceptance:
    """The share of the tokens the target looked at that it accepted, newer rounds counting more."""

    of_all: Acceptance | None = None  # what this one is believed to be like
    hits: float = 0.0
    tries: float = 0.0

    def add(self, accepted: int, rejected: bool) -> None:
        """Count a round: that many tokens accepted, and whether the next drafted one was rejected."""
        kept = _KEPT if self.of_all else _KEPT_OF_ALL
        self.hits = kept * self.hits + accepted
        self.tries = kept * self.tries + accepted + rejected
        if self.of_all and (accepted or rejected):
            self.of_all.add(accepted, rejected)

    @property
    def rate(self) -> float:
        """The chance that a drafted token is accepted if those before it were."""
        rate, tries = (self.of_all.rate, _PRIOR_TRIES) if self.of_all else (_FIRST_RATE, _FIRST_TRIES)
        return (self.hits + rate * tries) / (self.tries + tries)
