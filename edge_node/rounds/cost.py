"""What an answer costs: drafting and energy here, and its share of the hub's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from shared.energy.meter import Known, Meter

_MOST = 2.0**53


@dataclass(frozen=True)
class Cost:
    """Of an answer so far. A hub's seconds and joules are those of one of its tokens on average since it started, times the answer's."""

    drafting_s: float = 0.0  # in which this device drafted
    joules: float | None = None  # that it took from the answer's beginning on; None where nothing is known
    known: Known = Known.UNKNOWN
    hub_forward_s: float | None = None
    hub_joules: float | None = None
    hub_known: Known = Known.UNKNOWN


class AnswerCost:
    """Reckons what the answer in progress costs."""

    def __init__(self, meter: Meter, drafting_s: Callable[[], float]) -> None:
        """`drafting_s` gives the seconds of drafting since any time."""
        self._meter, self._drafting_s = meter, drafting_s
        self.begin()

    def begin(self) -> None:
        """An answer begins."""
        self._drafted_s = self._drafting_s()
        self._joules = self._meter.joules(self._drafted_s)

    def so_far(self, tokens: int, hub: Mapping[str, Any]) -> Cost:
        """The cost of the answer, which has that many tokens by now; `hub` is what its hub says in its `stats`."""
        drafted_s = self._drafting_s()
        joules = self._meter.joules(drafted_s)
        taken = None if joules is None or self._joules is None else joules - self._joules
        committed, forward_us, energy = (_number(hub.get(key)) for key in ("committed", "forward_us", "forward_j"))
        share = tokens / committed if committed else None
        return Cost(
            drafted_s - self._drafted_s,
            taken,
            Known.UNKNOWN if taken is None else self._meter.known,
            None if share is None or forward_us is None else share * forward_us / 1e6,
            None if share is None or energy is None else share * energy,
            _known(hub.get("energy")),
        )


def _number(value: object) -> float | None:
    """A hub's number, as far as it is one."""
    return float(value) if type(value) in (int, float) and 0 <= value < _MOST else None  # type: ignore[operator,arg-type]


def _known(value: object) -> Known:
    return next((known for known in Known if known.value == value), Known.UNKNOWN)
