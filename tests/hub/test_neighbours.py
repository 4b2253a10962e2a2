"""Other programs that compute are noticed, and torch's threads wait for each other so that a forward does not stand still."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from hub.neighbours import Neighbours, _taken_by_others

CORES = os.cpu_count() or 1


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
    neighbours.threads = neighbours.cores = threads
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


def short_waits() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name == "short waits"}


def test_others_are_in_the_way_of_as_many_threads_as_there_are_cores() -> None:
    others, before = Others(), short_waits()  # hubs of other tests may have some
    with watching(others, 4) as neighbours:
        assert not becomes(lambda: neighbours.are_busy, 0.2)
        others.cores = 0.9
        assert becomes(lambda: neighbours.are_busy)
        assert becomes(lambda: bool(short_waits() - before))
        others.cores = 0.0
        assert becomes(lambda: not neighbours.are_busy)
        assert becomes(lambda: not short_waits() - before)
        others.cores = 0.9
        assert becomes(lambda: neighbours.are_busy)
    assert not short_waits() - before


@pytest.mark.parametrize("threads", [1, 2])
def test_others_are_not_in_the_way_of_one_thread_nor_where_cores_are_left(threads: int) -> None:
    others = Others()
    neighbours = Neighbours(taken=others.taken, look_s=0.02)
    neighbours.threads, neighbours.cores, others.cores = threads, 4, 1.0
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


@pytest.mark.skipif(CORES < 2, reason="one core has no threads that wait")
def test_threads_that_wait_beside_others_do_not_compute() -> None:
    """In a process of its own: OpenMP counts all threads of one, and tests before have had some."""
    told = subprocess.check_output([sys.executable, "-c", _TRIAL], text=True)
    alone, beside, alone_again = map(float, told.split())
    assert beside < 0.5 * alone
    assert alone_again > 2 * beside


_TRIAL = """
import os, time
import torch
from hub.neighbours import Neighbours
torch.set_num_threads(len(os.sched_getaffinity(0)))
x = torch.zeros(1 << 18)
def computed():
    began = time.process_time()
    for _ in range(100):
        x.add_(1)
        time.sleep(0.005)  # in which the other threads wait for the next product
    return time.process_time() - began
computed()
spent, busy = 0.0, False
def taken():
    global spent
    spent += 100.0 if busy else 0.0
    return spent
neighbours = Neighbours(taken=taken, look_s=0.02)
neighbours.watch()
alone = computed()
busy = True
while not neighbours.are_busy:
    time.sleep(0.01)
time.sleep(0.5)
beside = computed()
busy = False
while neighbours.are_busy:
    time.sleep(0.01)
time.sleep(0.5)
print(alone, beside, computed())
neighbours.close()
"""


def test_what_others_take_is_measured() -> None:
    def share() -> float:
        before, at = _taken_by_others(), time.monotonic()
        time.sleep(1.0)
        return (_taken_by_others() - before) / (time.monotonic() - at)

    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as process:
        try:
            beside = share()
        finally:
            process.kill()
    assert beside > 0.3
