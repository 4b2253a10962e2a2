"""What a soak noted at one time, its file, and the figures that follow from all of them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import linear_regression
from typing import Any

from shared.errors import SettingsError
from tools.bench.report import quantile
from tools.rig.usage import Usage

HUB = "hub"
_HOUR_S = 3600.0
_QUARTERS = 4


@dataclass(frozen=True)
class Sample:
    """Of a time between two looks at the processes, and the second look. The first sample of a run is a look alone."""

    at_s: float
    """Seconds since the first look."""
    answers_ms: tuple[float, ...]
    """What each answer took that came in that time."""
    compared: int
    """How many answers were compared with the first one to the same request of the same chat."""
    wrong: int
    """How many were another."""
    failed: int
    """How many did not come."""
    load: float
    """How many processes of the machine wanted a core, on average over a minute."""
    processes: dict[str, Usage]

    def to_json(self) -> str:
        """The line that `read` reads."""
        return json.dumps(asdict(self))


def read(file: Path) -> list[Sample]:
    """The samples that a file has a line for. Raises SettingsError where there are none."""
    try:
        rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
        samples = [
            Sample(**row | {"processes": {name: Usage(**used) for name, used in row["processes"].items()}})
            for row in rows
        ]
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise SettingsError(f"cannot read samples from {file} ({error}); name a file that a soak has written") from None
    if len(samples) <= _QUARTERS:
        raise SettingsError(f"{file} has too few samples, {len(samples)}; let a soak run for longer")
    return samples


def figures(samples: Sequence[Sample], cores: int) -> dict[str, Any]:
    """What docs/faults.md explains, from more than four samples of a machine with so many cores.

    What a quarter without an answer would have to give is None.
    """
    first, last = samples[0], samples[-1]
    seconds = last.at_s - first.at_s
    early, late = _Quarter(samples, 0), _Quarter(samples, _QUARTERS - 1)
    used = sum(last.processes[name].cpu_s - first.processes[name].cpu_s for name in first.processes)
    return {
        "minutes": round(seconds / 60, 2),
        "answers": sum(len(sample.answers_ms) for sample in samples),
        "compared": sum(sample.compared for sample in samples),
        "wrong": sum(sample.wrong for sample in samples),
        "failed": sum(sample.failed for sample in samples),
        "cpu_share": round(used / (seconds * cores), 3),
        **_compared("p50_ms", early.quantile(0.5), late.quantile(0.5)),
        **_compared("p95_ms", early.quantile(0.95), late.quantile(0.95)),
        **_compared("p99_ms", early.quantile(0.99), late.quantile(0.99)),
        **_compared("hub_cpu_ms_per_answer", early.hub_cpu_ms_per_answer, late.hub_cpu_ms_per_answer),
        "processes": {name: _process(samples, name) for name in first.processes},
    }


def growth_per_hour(points: Iterable[tuple[float, float]]) -> float:
    """The slope of the straight line that fits best through the last three quarters, for each hour.

    `points` are (seconds, value), in the order of time; two at least must be in those quarters.
    """
    points = list(points)
    begin, end = points[0][0], points[-1][0]
    settled = [point for point in points if point[0] >= begin + (end - begin) / _QUARTERS]
    slope: float = linear_regression(*zip(*settled, strict=True)).slope
    return slope * _HOUR_S


def _process(samples: Sequence[Sample], name: str) -> dict[str, float]:
    first, last = samples[0].processes[name], samples[-1].processes[name]
    growth = growth_per_hour((sample.at_s, sample.processes[name].rss_mb) for sample in samples)
    return {
        "rss_first_mb": round(first.rss_mb, 1),
        "rss_last_mb": round(last.rss_mb, 1),
        "growth_mb_per_hour": round(growth, 2),
        "fds_first": first.fds,
        "fds_last": last.fds,
        "threads_first": first.threads,
        "threads_last": last.threads,
    }


class _Quarter:
    """What came in one of four equal parts of the time."""

    def __init__(self, samples: Sequence[Sample], number: int) -> None:
        begin, seconds = samples[0].at_s, samples[-1].at_s - samples[0].at_s
        start, end = (begin + seconds * edge / _QUARTERS for edge in (number, number + 1))
        before = [sample for sample in samples if sample.at_s <= start]
        inside = [sample for sample in samples if start < sample.at_s <= end]
        self._answers_ms = [ms for sample in inside for ms in sample.answers_ms]
        self._hub_cpu_s = inside[-1].processes[HUB].cpu_s - before[-1].processes[HUB].cpu_s

    def quantile(self, share: float) -> float | None:
        """Milliseconds that so many of the answers did not pass."""
        return round(quantile(self._answers_ms, share), 1) if self._answers_ms else None

    @property
    def hub_cpu_ms_per_answer(self) -> float | None:
        """Milliseconds of a core that the hub used for each answer."""
        return round(1e3 * self._hub_cpu_s / len(self._answers_ms), 1) if self._answers_ms else None


def _compared(key: str, first: float | None, last: float | None) -> dict[str, float | None]:
    ratio = round(last / first, 3) if first and last else None
    return {f"{key}_first_quarter": first, f"{key}_last_quarter": last, f"{key}_ratio": ratio}
