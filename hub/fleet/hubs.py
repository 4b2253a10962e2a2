"""A hub, by its `status`, `info` and `stats`."""

from __future__ import annotations

from dataclasses import dataclass, replace

from hub.fleet.facts import Published, count, number, seconds, text
from hub.fleet.presence import Presence, State
from hub.fleet.samples import Sample, Samples

_SILENT_S = 3.5  # seconds after which nodes ask a hub no more; it speaks every second
_COUNTERS = ("committed", "drafted", "accepted", "target_forwards", "prefill_forwards", "forward_us", "rows", "faults")
_FORWARDS = ("target_forwards", "prefill_forwards")


@dataclass(frozen=True)
class HubView:
    """A hub at one moment. Rates are of its last 5 s, shares from 0 to 1; None is what is not known."""

    name: str = ""
    state: State = State.OFFLINE
    heard: bool = False  # or only kept by the broker
    for_s: float | None = None  # seconds for which it runs, or is silent, or offline
    pair: str = ""
    target: str = ""
    device: str = ""
    version: str = ""
    sessions: int | None = None
    tokens_per_s: float | None = None  # that the target committed
    acceptance: float | None = None  # of drafted tokens; None where none were verified
    forwards_per_s: float | None = None
    tokens_per_forward: float | None = None  # committed ones
    rows_per_forward: float | None = None  # sessions that share one, on average
    in_forwards: float | None = None  # share of its time
    faults_per_s: float | None = None
    kv_bytes: int | None = None  # that it has for K/V
    held_bytes: int | None = None  # that sessions hold of them

    @property
    def load(self) -> tuple[float, ...]:
        """What busier hubs have more of."""
        return (self.tokens_per_s or 0.0, float(self.sessions or 0))


class SeenHub:
    """What a hub has published."""

    def __init__(self) -> None:
        self.presence = Presence(_SILENT_S)
        self._told = HubView()
        self._samples = Samples()
        self._began_at: float | None = None

    def take_info(self, info: Published) -> None:
        """What it serves."""
        told = {key: text(info, key) for key in ("pair", "target", "device", "version")}
        self._told = replace(self._told, **told)  # type: ignore[arg-type]

    def take_stats(self, stats: Published, now: float) -> None:
        """What it has done."""
        told = {key: count(stats, key) for key in ("sessions", "kv_bytes", "held_bytes")}
        self._told = replace(self._told, **told)  # type: ignore[arg-type]
        at_s, up_s = seconds(stats, "at_us"), number(stats, "up_s")
        self._began_at = None if up_s is None else now - up_s
        counters = {name: value for name in _COUNTERS if (value := number(stats, name)) is not None}
        if at_s is not None:
            self._samples.add(Sample(at_s, up_s, counters))

    def is_known(self, now: float) -> bool:
        """Whether waiting would tell no more: its rates are there, or it does not live."""
        return self._samples.span_s > 0 or self.presence.state(now) is not State.ONLINE

    def view(self, name: str, now: float) -> HubView:
        """How it stands now. One that does not live has no rates, and holds nothing."""
        state, samples = self.presence.state(now), self._samples
        told = replace(self._told, name=name, state=state, heard=self.presence.heard)
        if state is not State.ONLINE:
            return replace(told, for_s=self.presence.gone_s(now), sessions=None, held_bytes=None)
        in_forwards = samples.rate("forward_us")
        return replace(
            told,
            for_s=None if self._began_at is None else now - self._began_at,
            tokens_per_s=samples.rate("committed"),
            acceptance=_ratio(samples.gain("accepted"), samples.gain("drafted")),
            forwards_per_s=samples.rate(*_FORWARDS),
            tokens_per_forward=_ratio(samples.gain("committed"), samples.gain(*_FORWARDS)),
            rows_per_forward=_ratio(samples.gain("rows"), samples.gain(*_FORWARDS)),
            in_forwards=None if in_forwards is None else min(1.0, 1e-6 * in_forwards),  # a forward counts as it ends
            faults_per_s=samples.rate("faults"),
        )


def _ratio(part: float | None, whole: float | None) -> float | None:
    return part / whole if part is not None and whole else None
