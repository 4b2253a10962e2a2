"""What a service says of itself in its node's `status`, and what it makes of what others say there."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from typing import Any


class Presence:
    """One running service. Of two with the same name the older one goes on."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._instance, self._clock, self._began_at = secrets.token_hex(8), clock, clock()

    @property
    def online(self) -> dict[str, Any]:
        """The status of a service that answers, or is about to."""
        return {"online": True, "instance": self._instance, "age_s": round(self._clock() - self._began_at, 3)}

    @property
    def offline(self) -> dict[str, Any]:
        """The status of one that does not."""
        return {"online": False, "instance": self._instance}

    def is_told_by(self, status: dict[str, Any]) -> bool:
        """Whether a status says that this service is online."""
        return status.get("online") is True and status.get("instance") == self._instance

    def yields_to(self, status: dict[str, Any]) -> bool:
        """Whether it is of another service that is online and older, so that this one ends."""
        is_another = status.get("online") is True and status.get("instance") != self._instance
        return is_another and _seniority(status) > _seniority(self.online)


def _seniority(status: dict[str, Any]) -> tuple[float, str]:
    age_s = status.get("age_s")
    return float(age_s) if isinstance(age_s, int | float) else 0.0, str(status.get("instance"))
