"""A chat that a worker is to hold."""

from __future__ import annotations

import json
from dataclasses import dataclass


@dataclass(frozen=True)
class Chat:
    """Requests of one session, and how they are to be answered."""

    number: int
    requests: tuple[str, ...]
    sampling: tuple[float, int, float]
    """Temperature, top_k and top_p."""
    seed: int

    def to_json(self) -> str:
        """The line that a worker reads."""
        return json.dumps(
            {"chat": self.number, "requests": self.requests, "sampling": self.sampling, "seed": self.seed}
        )
