"""The healthy sessions' process, and what became of each of them."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared.settings import BrokerSettings
from tools.bench.report import quantile
from tools.fuzz.healthy import REQUESTS
from tools.rig.killable import Killable

_SLOWER = 3.0  # times its quiet p95 at which a session counts as disturbed
_P95 = 0.95
KINDS = ("failed", "wrong", "slow")
_PATIENCE_S = 180.0


@dataclass(frozen=True)
class Report:
    """A phase of one node."""

    answers: list[tuple[int, str, float]]  # request, text, seconds
    failures: list[str]

    @property
    def p95_s(self) -> float:
        """Of the seconds that answers took; infinite where none came."""
        return quantile([seconds for _, _, seconds in self.answers], _P95) if self.answers else float("inf")

    @property
    def texts(self) -> dict[int, set[str]]:
        """What each request was answered with."""
        found: dict[int, set[str]] = {}
        for number, text, _ in self.answers:
            found.setdefault(number, set()).add(text)
        return found


class Ward:
    """Healthy nodes, each with one session at a time."""

    def __init__(self, program: Killable, names: Sequence[str]) -> None:
        self.names = names
        self._program = program

    @property
    def runs(self) -> bool:
        """Whether the process is there."""
        return self._program.runs

    @property
    def tracebacks(self) -> int:
        """Exceptions that the process has logged."""
        return self._program.last_words(10**9).count("Traceback (most recent call last)")

    def report(self) -> dict[str, Report]:
        """What has happened since the last report, by node. Raises RuntimeError when the process has ended."""
        asks, says = self._program.pipes
        try:
            asks.write(b"report\n")
            asks.flush()
        except BrokenPipeError:
            raise RuntimeError(f"the healthy nodes' process has ended: {self._program.last_words()}") from None
        line: dict[str, dict[str, Any]] = json.loads(says.readline())
        return {
            name: Report([(n, t, s) for n, t, s in each["answers"]], each["failures"]) for name, each in line.items()
        }

    def quiet(self, times: int) -> dict[str, Report]:
        """Reports of a phase in which each request was asked so many times by each node. Raises RuntimeError."""
        self.report()
        merged = {name: Report([], []) for name in self.names}
        deadline = time.monotonic() + _PATIENCE_S
        while any(len(each.answers) < times * len(REQUESTS) for each in merged.values()):
            if time.monotonic() > deadline:
                raise RuntimeError("the healthy sessions are not answered although nothing happens")
            time.sleep(0.2)
            for name, report in self.report().items():
                merged[name].answers.extend(report.answers)
                merged[name].failures.extend(report.failures)
        return merged


@dataclass(frozen=True)
class Disturbance:
    """What was wrong with a session: one of KINDS, and a sentence."""

    kind: str
    sentence: str


def disturbance(quiet: Report, stormy: Report) -> Disturbance | None:
    """What was wrong with a session during the storm, measured by what it was answered before; None: nothing."""
    if stormy.failures or not stormy.answers:
        first = stormy.failures[0] if stormy.failures else "no answer came"
        return Disturbance("failed", f"{len(stormy.failures)} failed: {first}")
    for number, texts in stormy.texts.items():
        if texts != quiet.texts[number]:
            return Disturbance("wrong", f"{REQUESTS[number]!r} was answered with {texts}, not {quiet.texts[number]}")
    ratio = stormy.p95_s / quiet.p95_s
    return Disturbance("slow", f"p95 is {ratio:.1f} times what it was") if ratio > _SLOWER else None


@contextmanager
def ward(folder: Path, brokers: Mapping[str, BrokerSettings]) -> Iterator[Ward]:
    """Healthy nodes, by name and how each reaches the broker; their process ends with the context."""
    files = []
    for name, broker in brokers.items():
        file = folder / f"{name}.toml"
        file.write_text(
            f'name = "{name}"\nthreads = 1\n[broker]\nhost = "{broker.host}"\nport = {broker.port}\n'
            f'password_file = "{broker.password_file}"\n'
        )
        files.append(str(file))
    program = Killable([sys.executable, "-m", "tools.fuzz.healthy", *files], folder / "healthy.log", pipes=True)
    program.start()
    try:
        yield Ward(program, list(brokers))
    finally:
        program.kill()
