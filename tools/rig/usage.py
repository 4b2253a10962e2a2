"""What a process takes of the machine, from /proc."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tools.rig.memory import rss_mb

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Usage:
    """Of a process and all that it has started, at one time."""

    rss_mb: float
    """Megabytes that they hold."""
    cpu_s: float
    """Seconds of a core that those which live have used."""
    threads: int
    fds: int
    """Open file descriptors."""


def usage(pid: int) -> Usage:
    """What the process and its descendants take now; nothing for those that have ended."""
    total = Usage(0.0, 0.0, 0, 0)
    for each in descendants(pid):
        with suppress(FileNotFoundError, ProcessLookupError, StopIteration):  # it ends just now
            folder = Path(f"/proc/{each}")
            # Fields 14 and 15, counted from 1; the second one is a name in brackets that may hold blanks.
            user, system = (folder / "stat").read_text().rpartition(")")[2].split()[11:13]
            total = Usage(
                total.rss_mb + rss_mb(each),
                total.cpu_s + (int(user) + int(system)) / _TICKS_PER_S,
                total.threads + len(list((folder / "task").iterdir())),
                total.fds + len(list((folder / "fd").iterdir())),
            )
    return total


def descendants(pid: int) -> Iterator[int]:
    """The process and all that it has started, by their ids."""
    yield pid
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(FileNotFoundError, ProcessLookupError):
            for child in children.read_text().split():
                yield from descendants(int(child))
