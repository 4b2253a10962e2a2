"""How often drafted tokens are accepted: a session begins with the rate of all sessions and comes to its own."""

from __future__ import annotations

from dataclasses import dataclass

_KEPT = 0.98  # factor on the weight of a session's older rounds at each new one
_KEPT_OF_ALL = 0.999  # factor on the weight of the older rounds of all sessions together
# A session counts as having had so many tokens looked at before, at the hub's rate: its first few are a matter of luck.
_PRIOR_TRIES = 16.0
_FIRST_RATE = 0.75  # assumed of a hub that has verified nothing yet
_FIRST_TRIES = 4.0  # tokens for which that assumption counts


@dataclass
class Acceptance:
    """Tokens accepted over tokens looked at, newer rounds counting more."""

    of_all: Acceptance | None = None  # the acceptance of all sessions; None where this is that one
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
