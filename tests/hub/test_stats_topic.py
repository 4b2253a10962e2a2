"""A hub's `stats` are told once a second, and never more often."""

from __future__ import annotations

import math
import threading
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from hub.stats_topic import StatsTopic
from tests.clock import Clock


@given(st.lists(st.tuples(st.floats(0, 1.5), st.booleans()), max_size=60))
def test_whoever_tells_and_however_often_a_second_lies_between(steps: list[tuple[float, bool]]) -> None:
    clock, told = Clock(), list[float]()
    connected = True

    def publish() -> bool:
        if connected:
            told.append(clock.now)
        return connected

    topic = StatsTopic(publish, clock)
    due = clock.now  # when the thread that tells in turn wakes
    for pause, connected in steps:
        # As the hub's thread does it, beside a connection that comes and goes and tells whenever it comes.
        until = clock.now + pause
        while due <= until:
            clock.reach(due)
            topic.tell()
            due = clock.now + topic.wait_s
        clock.reach(until)
        topic.tell()
        if connected:
            assert topic.age_s < 1.0 + 1e-9
    assert all(later - earlier > 1.0 - 1e-9 for earlier, later in pairwise(told))


def test_nothing_counts_as_told_without_a_connection() -> None:
    clock = Clock()
    topic = StatsTopic(lambda: False, clock)
    topic.tell()
    assert (topic.age_s, topic.wait_s) == (math.inf, 1.0)


def test_two_threads_at_once_tell_once() -> None:
    told: list[int] = []
    ready = threading.Barrier(8)

    def publish() -> bool:
        told.append(1)
        return True

    topic = StatsTopic(publish, Clock())

    def tell() -> None:
        ready.wait()
        topic.tell()

    threads = [threading.Thread(target=tell) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(told) == 1
