"""Other programs that compute on the machine, and what they change in how torch's threads wait for each other.

A forward is thousands of short products, and after each of them all threads wait for the last. As long as the hub has the cores to itself, threads
that wait by spinning lose nothing. When another program takes one of the cores they spin for as long as the kernel lets that program run: a forward
of 1.1 billion weights takes 1,300 ms instead of 140. With short waits, behind which a thread sleeps, it takes 230 ms.

GNU OpenMP, with which torch comes, reads how to wait once, when it is loaded. But it spins for a moment only while it has more threads than
there are cores, and that can be brought about at any time: by another team of threads, all asleep.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

log = logging.getLogger(__name__)

_LOOK_S = 0.25  # seconds between two looks at what others take
_MUCH = 0.2  # cores beyond those that the hub leaves free, from which on others are in the way
_MUCH_OF_MANY = 0.02  # or this share of all cores, of which each is counted in steps of 10 ms
_QUIET_LOOKS = 8  # one after the other, before threads spin again
_SPENT = (1, 2, 3, 6, 7, 8)  # fields of a line of /proc/stat: user, nice, system, irq, softirq and steal


class Neighbours:
    """Watches what other programs take of this process's cores, and has torch's threads wait accordingly."""

    def __init__(self, *, taken: Callable[[], float] | None = None, look_s: float = _LOOK_S) -> None:
        """`taken` gives the seconds that others have computed so far, on all cores together."""
        self.cores = len(_own_cores())
        self.threads = self.cores
        """Threads that torch computes with; to be set once that is known."""
        self.are_busy = False
        """Whether others take cores that these threads need."""
        self._taken = taken or _taken_by_others
        self._look_s = look_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="neighbours", daemon=True)

    def watch(self) -> None:
        """Watch from now on, on a thread of its own, if the system tells what others take."""
        self._thread.start()

    def close(self) -> None:
        """Watch no longer; threads wait as they did before."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def _watch(self) -> None:
        waits, quiet = _ShortWaits(), 0
        much = max(_MUCH, _MUCH_OF_MANY * self.cores)
        try:
            before, at = self._taken(), time.monotonic()
            while not self._stop.wait(self._look_s):
                now, until = self._taken(), time.monotonic()
                too_many = (now - before) / (until - at) - max(0, self.cores - self.threads)
                before, at = now, until
                quiet = quiet + 1 if too_many < much / 2 else 0
                if self.threads > 1 and too_many > much and not self.are_busy:
                    self.are_busy = True
                    waits.begin(self.cores + 1)
                elif self.are_busy and quiet >= _QUIET_LOOKS:
                    self.are_busy = False
                    waits.end()
        except (OSError, ValueError, IndexError) as error:
            log.info("what other programs take of the processor cannot be told (%s)", error)
        finally:
            waits.end()


class _ShortWaits:
    """While begun, OpenMP's threads spin for a moment only."""

    def __init__(self) -> None:
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def begin(self, team: int) -> None:
        """Have so many threads more; those of a team live as long as the thread that computed with it."""
        self._over.clear()
        self._thread = threading.Thread(target=self._hold, args=(team,), name="short waits", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Let go of them."""
        self._over.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _hold(self, team: int) -> None:
        import torch

        before = torch.get_num_threads()
        torch.set_num_threads(team)
        torch.zeros(team << 16).add_(1)  # so much that each of them has a share
        torch.set_num_threads(before)  # threads that have not computed yet begin with the last number that was set
        self._over.wait()


def _own_cores() -> set[int]:
    """The numbers of the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return os.sched_getaffinity(0)
    return set(range(os.cpu_count() or 1))  # macOS has no such thing


def _taken_by_others() -> float:
    """Seconds that other programs, and other machines on the same processor, have computed on this process's cores."""
    names = {f"cpu{core}" for core in _own_cores()}
    lines = [line.split() for line in Path("/proc/stat").read_text(encoding="ascii").splitlines()]
    ticks = sum(int(line[field]) for line in lines if line and line[0] in names for field in _SPENT)
    return ticks / os.sysconf("SC_CLK_TCK") - time.process_time()
