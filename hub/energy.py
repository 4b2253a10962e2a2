"""The energy that a hub's machine takes, and the part of it that forwards have taken."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from shared.energy.meter import Known, Meter


class ForwardEnergy:
    """Looks at the meter each time that the hub tells its figures, and splits the joules since the last look by time."""

    def __init__(self, meter: Meter, clock: Callable[[], float] = time.monotonic) -> None:
        self._meter, self._clock = meter, clock
        self._looking = threading.Lock()  # figures are told by two threads
        self._at, self._forward_s = clock(), 0.0
        self._joules = meter.joules(0.0) or 0.0
        self._of_forwards = 0.0

    def figures(self, forward_s: float) -> dict[str, str | float | None]:
        """`energy`: how it is known; `energy_j`: joules of the machine so far; `forward_j`: those of forwards, which have taken `forward_s` seconds so far.

        What a machine took in a second half of which was forwards, counts half. Both are None where nothing is known.
        """
        with self._looking:
            joules, now = self._meter.joules(forward_s), self._clock()
            if joules is not None:
                share = (forward_s - self._forward_s) / max(now - self._at, 1e-6)
                is_all = self._meter.known is Known.STATED  # for the seconds of forwards alone
                self._of_forwards += (joules - self._joules) * (1.0 if is_all else min(1.0, share))
                self._at, self._forward_s, self._joules = now, forward_s, joules
            known = self._meter.known.value
            if joules is None:
                return {"energy": known, "energy_j": None, "forward_j": None}
            return {"energy": known, "energy_j": round(joules, 3), "forward_j": round(self._of_forwards, 3)}
