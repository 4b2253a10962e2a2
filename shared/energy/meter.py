"""The energy of this machine, and how it is known."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from enum import Enum

from shared.energy.jetson import jetson
from shared.energy.nvml import Nvml
from shared.energy.pi import pi
from shared.energy.rapl import Rapl
from shared.energy.source import NoEnergy, Source

log = logging.getLogger(__name__)

SOURCES: tuple[Callable[[], Source], ...] = (Rapl, Nvml, jetson, pi)  # parts of a machine that do not overlap


class Known(Enum):
    """How an energy is known."""

    MEASURED = "measured"  # by the machine: all that it took, whoever computed
    STATED = "stated"  # the watts that its owner has stated, times the seconds in which it computed
    UNKNOWN = "unknown"


class Meter:
    """Joules by all sources that the machine has; without any by stated watts; else none. It is never guessed."""

    def __init__(self, watts: float = 0.0, sources: Iterable[Callable[[], Source]] = SOURCES) -> None:
        """`watts` is what the machine takes while it computes, 0 for not stated."""
        self._watts = watts
        self._reading = threading.Lock()  # several conversations of a node ask
        self._sources: list[Source] = []
        reasons = []
        for make in sources:
            try:
                self._sources.append(make())
            except NoEnergy as reason:
                reasons.append(str(reason))
        self._reason = "; ".join(reasons)
        log.info("energy: %s", self.told)

    @property
    def known(self) -> Known:
        """How the joules are known."""
        if self._sources:
            return Known.MEASURED
        return Known.STATED if self._watts else Known.UNKNOWN

    @property
    def told(self) -> str:
        """That in words."""
        if self._sources:
            return f"measured ({', '.join(source.name for source in self._sources)})"
        return f"stated ({self._watts:g} W)" if self._watts else f"unknown ({self._reason})"

    def joules(self, busy_s: float) -> float | None:
        """Since the meter was made; `busy_s` are the seconds in which the machine has computed. None where nothing is known."""
        try:
            if self._sources:
                with self._reading:
                    return sum(source.joules() for source in self._sources)
        except NoEnergy as reason:
            # With a part missing the sum would be another one.
            log.warning("the energy is not measured any more: %s", reason)
            self._sources, self._reason, self._watts = [], str(reason), 0.0
        return self._watts * busy_s if self._watts else None
