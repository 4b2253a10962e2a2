"""Fewer events that still fail: delta debugging over a schedule."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

from tools.chaos.schedule import Event, Schedule


def shrink(schedule: Schedule, fails: Callable[[Schedule], bool], runs: int) -> tuple[Schedule, int]:
    """A schedule with fewer events that failed too, and how many runs it took, `runs` at most.

    Leaves out one of two halves of the events, then one of four quarters and so on, as long as what remains fails.
    A run depends on the machine's timing too: an event that is left out was not needed, one that stays may not be.
    """
    events = list(schedule.events)
    parts = tried = 0
    while len(events) > 1 and tried < runs:
        parts = min(max(2, parts), len(events))
        for kept in _without_a_part(events, parts):
            if tried == runs:
                break
            tried += 1
            if fails(schedule.with_events(kept)):
                events, parts = kept, parts - 1
                break
        else:
            if parts == len(events):
                break
            parts *= 2
    return schedule.with_events(events), tried


def _without_a_part(events: list[Event], parts: int) -> list[list[Event]]:
    edges = [len(events) * i // parts for i in range(parts + 1)]
    return [events[:begin] + events[end:] for begin, end in pairwise(edges)]
