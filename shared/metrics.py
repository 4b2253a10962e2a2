"""A program's figures as metrics: what each is called, what it means, and where it comes from, read when somebody asks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
    SummaryMetricFamily,
)
from prometheus_client.registry import Collector

MICROSECOND = 1e-6


class Row(Protocol):
    """A metric: its name in full, in base units, a sentence for whoever looks at it at night, and which of Prometheus' kinds it is."""

    @property
    def name(self) -> str: ...  # noqa: D102

    @property
    def meaning(self) -> str: ...  # noqa: D102

    @property
    def kind(self) -> str: ...  # noqa: D102

    def family(self, figures: Mapping[str, Any]) -> Metric:
        """The metric and its samples, from a program's figures by their own names."""


@dataclass(frozen=True)
class Figure:
    """One number. A name in `_total` is of one that only grows until the program ends; there is no sample of None."""

    name: str
    meaning: str
    key: str
    unit: float = 1.0  # of the figure, in the name's

    @property
    def kind(self) -> str:
        """See `Row`."""
        return "counter" if self.name.endswith("_total") else "gauge"

    def family(self, figures: Mapping[str, Any]) -> Metric:
        """See `Row`."""
        value = figures[self.key]
        family = CounterMetricFamily if self.kind == "counter" else GaugeMetricFamily
        return family(self.name, self.meaning, value=None if value is None else self.unit * value)


@dataclass(frozen=True)
class Durations:
    """How often something was done and how long that took in all, as `NAME_count` and `NAME_sum`."""

    name: str
    meaning: str
    times: str  # the key of the number of times
    spent: str  # the key of the time
    unit: float = 1.0  # of the time, in seconds
    kind: ClassVar[str] = "summary"

    def family(self, figures: Mapping[str, Any]) -> Metric:
        """See `Row`."""
        return SummaryMetricFamily(self.name, self.meaning, figures[self.times], self.unit * figures[self.spent])


@dataclass(frozen=True)
class Spread:
    """How long something took, by `Buckets` of seconds."""

    name: str
    meaning: str
    key: str
    kind: ClassVar[str] = "histogram"

    def family(self, figures: Mapping[str, Any]) -> Metric:
        """See `Row`."""
        buckets = figures[self.key]
        bounds = [*map(str, buckets.bounds), "+Inf"]
        return HistogramMetricFamily(
            self.name, self.meaning, list(zip(bounds, buckets.up_to, strict=True)), buckets.total
        )


@dataclass(frozen=True)
class Facts:
    """What does not change while the program runs, as labels of a metric that is 1."""

    name: str
    meaning: str
    keys: Sequence[str]
    kind: ClassVar[str] = "gauge"

    def family(self, figures: Mapping[str, Any]) -> Metric:
        """See `Row`."""
        return InfoMetricFamily(
            self.name.removesuffix("_info"), self.meaning, {key: str(figures[key]) for key in self.keys}
        )


class Figures(Collector):
    """A program's metrics, all of one moment."""

    def __init__(self, rows: Sequence[Row], figures: Callable[[], Mapping[str, Any]]) -> None:
        """`figures` is called at each scrape, on the server's thread."""
        self._rows, self._figures = rows, figures

    def collect(self) -> Iterator[Metric]:
        """See `Collector`."""
        now = self._figures()
        return (row.family(now) for row in self._rows)
