"""Other programs that compute are noticed, and torch's threads wait for each other so that a forward does not stand still."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from hub.neighbours import Neighbours, _taken_by_others

CORES = len(os.sched_getaffinity(0))


class Others:
    """Other programs, as the system counts them."""

    def __init__(self) -> None:
        self.cores = 0.0
        self.looks = 0
        self._began = time.monotonic()

    def taken(self) -> float:
        self.looks += 1
        now = time.monotonic()
        self._taken = getattr(self, "_taken", 0.0) + self.cores * (now - self._began)
        self._began = now
        return self._taken


@contextmanager
def watching(others: Others, threads: int) -> Iterator[Neighbours]:
    neighbours = Neighbours(taken=others.taken, look_s=0.02)
    neighbours.threads = threads
    neighbours.watch()
    try:
        yield neighbours
    finally:
        neighbours.close()


def becomes(state: Callable[[], bool], seconds: float = 5.0) -> bool:
    deadline = time.monotonic() + seconds
    while not state() and time.monotonic() < deadline:
        time.sleep(0.01)
    return state()


def has_short_waits() -> bool:
    return any(thread.name == "short waits" for thread in threading.enumerate())


def test_others_are_in_the_way_of_as_many_threads_as_there_are_cores() -> None:
    others = Others()
    with watching(others, max(2, CORES)) as neighbours:
        assert not becomes(lambda: neighbours.are_busy, 0.2)
        others.cores = 0.9
        assert becomes(lambda: neighbours.are_busy)
        assert becomes(has_short_waits)
        others.cores = 0.0
        assert becomes(lambda: not neighbours.are_busy)
        assert becomes(lambda: not has_short_waits())
        others.cores = 0.9
        assert becomes(lambda: neighbours.are_busy)
    assert not has_short_waits()


@pytest.mark.parametrize("threads", [1, 2])
def test_others_are_not_in_the_way_of_one_thread_nor_where_cores_are_left(threads: int) -> None:
    others = Others()
    neighbours = Neighbours(taken=others.taken, look_s=0.02)
    neighbours.threads, neighbours.cores, others.cores = threads, 4, 1.9
    neighbours.watch()
    try:
        assert becomes(lambda: others.looks > 5)
        assert not neighbours.are_busy
    finally:
        neighbours.close()


def test_a_system_that_does_not_tell_changes_nothing() -> None:
    def missing() -> float:
        raise FileNotFoundError("/proc/stat")

    neighbours = Neighbours(taken=missing, look_s=0.02)
    neighbours.watch()
    neighbours.close()
    assert not neighbours.are_busy


@pytest.mark.skipif(CORES > 4, reason="one process is no neighbour on a machine of many cores")
@pytest.mark.skipif(CORES < 2, reason="one core has no threads that wait")
@pytest.mark.slow
def test_products_beside_a_busy_process_are_faster_than_spinning_ones() -> None:
    """In a process of its own: OpenMP counts all threads of one, and tests before have had some."""
    ratios: list[float] = []
    while len(ratios) < 3:  # a machine that stands still itself does not do so each time
        spinning, waiting = map(float, subprocess.check_output([sys.executable, "-c", _TRIAL], text=True).split())
        ratios.append(waiting / spinning)
        if ratios[-1] < 0.8:
            return
    pytest.fail(f"short waits took {ratios} of the time of long ones")


_TRIAL = """
import os, subprocess, sys, time
import torch
from hub.neighbours import Neighbours
torch.set_num_threads(len(os.sched_getaffinity(0)))
x, w = torch.randn(8, 512), torch.randn(512, 512)
def seconds():
    began = time.perf_counter()
    for _ in range(300):
        torch.nn.functional.linear(x, w).add_(torch.ones(8, 512))
        torch.zeros(1 << 17).add_(1)
    return time.perf_counter() - began
seconds()
neighbour = subprocess.Popen([sys.executable, "-c", "while True: pass"])
try:
    time.sleep(0.5)
    spinning = seconds()
    watched = Neighbours()
    watched.watch()
    time.sleep(1.5)
    assert watched.are_busy
    print(spinning, seconds())
    watched.close()
finally:
    neighbour.kill()
"""


def test_what_others_take_is_measured() -> None:
    def share() -> float:
        before, at = _taken_by_others(), time.monotonic()
        time.sleep(1.0)
        return (_taken_by_others() - before) / (time.monotonic() - at)

    quiet = statistics.median(share() for _ in range(2))
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as process:
        try:
            beside = share()
        finally:
            process.kill()
    assert beside > quiet - 0.3  # a machine that is full already gives it what it takes from others
    assert beside > 0.3
