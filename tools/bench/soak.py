"""A long run without faults: whether memory, latency and the hub's work for an answer stay what they were."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from rich.progress import Progress

from shared.errors import SettingsError
from tools.bench.report import progress, show
from tools.bench.soak_nodes import WAYS, Ledger, Tally, asking, chats
from tools.bench.soak_picture import check_picture, draw
from tools.bench.soak_samples import HUB, Sample, figures, read
from tools.rig.killable import Killable
from tools.rig.testbed import HubBed, running_hub
from tools.rig.usage import usage

_HUB_OPTIONS = ("--threads", "1", "--kv-memory", "16M")  # less than the chats would fill
_START_S = 120.0
_FEWEST = 8  # samples
_STEP_S = 0.1


@dataclass(frozen=True)
class Soak:
    """How to run it."""

    minutes: float
    every_s: float
    """Seconds between two samples."""
    pause_s: float
    """Seconds for which a node rests behind each answer."""
    chats: int
    """How many different chats there are, which nodes hold again and again."""


def run(soak: Soak, file: Path, picture: Path | None, as_json: bool) -> None:
    """Print the figures that docs/faults.md explains; write the samples to `file` as they come, and then the picture.

    With 0 minutes the samples are those that the file has. Raises SettingsError, or RuntimeError when a process ends by itself.
    """
    if picture is not None:
        check_picture(picture)
    if soak.minutes:
        _measure(soak, file)
    samples = read(file)
    if picture is not None:
        draw(samples, picture)
    show("soak", figures(samples, os.cpu_count() or 1), as_json)


def _measure(soak: Soak, file: Path) -> None:
    if soak.minutes * 60 < _FEWEST * soak.every_s:
        raise SettingsError(f"{soak.minutes} minutes have fewer than {_FEWEST} samples; use --every or more --minutes")
    file.parent.mkdir(parents=True, exist_ok=True)
    with (
        file.open("w", encoding="utf-8") as sink,
        progress() as bars,
        running_hub(list(WAYS), "home", _HUB_OPTIONS) as bed,
        tempfile.TemporaryDirectory(prefix="sled-soak-") as folder,
    ):
        ledger = Ledger()
        with asking(bed, chats(soak.chats), soak.pause_s, ledger, Path(folder)) as nodes:
            for sample in _samples(soak, bed, nodes, ledger, bars):
                sink.write(f"{sample.to_json()}\n")
                sink.flush()


def _samples(
    soak: Soak, bed: HubBed, nodes: Mapping[str, Killable], ledger: Ledger, bars: Progress
) -> Iterator[Sample]:
    """A sample at once when every node has held a chat, and then one each `every_s`. Raises RuntimeError."""
    starting = bars.add_task("starting", total=None)
    _await_chats(nodes, ledger)
    bars.remove_task(starting)
    count = int(soak.minutes * 60 / soak.every_s)
    task = bars.add_task("samples", total=count)
    began = time.monotonic()
    pids = {HUB: bed.hub_pid, **{name: node.pid for name, node in nodes.items()}, "broker": bed.broker.process.pid}
    yield _sample(0.0, Tally(), pids)
    for number in range(1, count + 1):
        time.sleep(max(0.0, began + number * soak.every_s - time.monotonic()))
        sample = _sample(time.monotonic() - began, ledger.take(), pids)
        _check(bed, nodes)
        yield sample
        bars.advance(task)


def _sample(at_s: float, tally: Tally, pids: Mapping[str, int]) -> Sample:
    return Sample(
        round(at_s, 2),
        tuple(tally.answers_ms),
        tally.compared,
        tally.wrong,
        tally.failed,
        round(os.getloadavg()[0], 2),
        {name: usage(pid) for name, pid in pids.items()},
    )


def _await_chats(nodes: Mapping[str, Killable], ledger: Ledger) -> None:
    """Wait until every node has ended a chat, and begin to count then. Raises RuntimeError."""
    deadline = time.monotonic() + _START_S
    chatted: set[str] = set()
    while chatted != set(nodes):
        _check_nodes(nodes)
        if time.monotonic() > deadline:
            raise RuntimeError(f"{', '.join(set(nodes) - chatted)} came to no end of a chat in {_START_S:.0f} s")
        time.sleep(_STEP_S)
        chatted |= ledger.take().chatted


def _check(bed: HubBed, nodes: Mapping[str, Killable]) -> None:
    """Raise RuntimeError when a process has ended."""
    if not bed.hub_runs:
        raise RuntimeError(f"the hub ended by itself:\n{bed.hub_log[-1000:]}")
    if bed.broker.process.poll() is not None:
        raise RuntimeError("mosquitto ended by itself")
    _check_nodes(nodes)


def _check_nodes(nodes: Mapping[str, Killable]) -> None:
    for name, node in nodes.items():
        if not node.runs:
            raise RuntimeError(f"{name} ended by itself:\n{node.last_words()}")
