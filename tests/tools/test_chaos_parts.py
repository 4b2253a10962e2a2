"""A schedule is the same for a seed each time and comes back from its file; the shrinker keeps what a failure needs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import SettingsError
from tools.chaos.chats import drawn
from tools.chaos.outages import Commit, Outages, lane_of
from tools.chaos.schedule import BROKER, Event, Kind, Schedule, draw
from tools.chaos.shrink import shrink

HUBS, NODES = ("hub-0", "hub-1"), ("node-0", "node-1", "node-2")


def test_a_seed_draws_the_same_each_time_and_another_one_draws_else() -> None:
    first, second, other = (draw(seed, 600, HUBS, NODES) for seed in (5, 5, 6))
    assert first == second != other
    chats, again = drawn(5), drawn(5)
    assert [next(chats) for _ in range(20)] == [next(again) for _ in range(20)]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_ten_minutes_have_what_they_promise(seed: int) -> None:
    schedule = draw(seed, 600, HUBS, NODES)
    kills = [event for event in schedule.events if event.kind is Kind.KILL]
    assert len(kills) + sum(event.kind is Kind.CUT for event in schedule.events) >= 150
    assert sum(event.in_round for event in kills) >= 60
    assert {event.victim for event in kills} == {BROKER, *HUBS, *NODES}
    assert {event.kind for event in schedule.events} == set(Kind)
    times = [event.at for event in schedule.events]
    assert times == sorted(times)
    assert times[-1] < 600


def test_a_schedule_comes_back_from_its_file(tmp_path: Path) -> None:
    schedule = draw(3, 60, HUBS, NODES)
    file = tmp_path / "schedule.json"
    file.write_text(schedule.to_json())
    assert Schedule.read(file) == schedule


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"seed": 1, "seconds": 1, "hubs": [], "nodes": [], "events": [{}]}'])
def test_what_is_no_schedule_is_told_so(tmp_path: Path, text: str) -> None:
    file = tmp_path / "schedule.json"
    file.write_text(text)
    with pytest.raises(SettingsError, match="no schedule"):
        Schedule.read(file)
    with pytest.raises(SettingsError, match="cannot read"):
        Schedule.read(tmp_path / "missing.json")


@given(
    st.integers(1, 60).flatmap(
        lambda count: st.tuples(st.just(count), st.sets(st.integers(0, count - 1), min_size=1, max_size=3))
    )
)
def test_the_shrinker_leaves_what_the_failure_needs(case: tuple[int, set[int]]) -> None:
    count, needed = case
    events = [Event(float(i), Kind.CUT, "node-0", 1.0) for i in range(count)]
    schedule = Schedule(1, 600, HUBS, NODES, tuple(events))

    def fails(smaller: Schedule) -> bool:
        return {float(i) for i in needed} <= {event.at for event in smaller.events}

    smallest, runs = shrink(schedule, fails, runs=10_000)
    assert [event.at for event in smallest.events] == sorted(map(float, needed))
    assert runs < 10_000
    bounded, runs = shrink(schedule, fails, runs=2)
    assert fails(bounded)
    assert runs <= 2


def test_a_recovery_counts_from_when_all_was_back(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("tools.chaos.outages.time.monotonic", lambda: now)
    outages = Outages(HUBS)

    def happens(at: float, change: str, part: str) -> None:
        nonlocal now
        now = at
        getattr(outages, change)(part)

    happens(10, "down", BROKER)
    happens(12, "up", BROKER)
    commits = [Commit(9.9, "hub-0"), Commit(12.5, "hub-0"), Commit(12.6, "hub-0")]
    assert outages.recoveries("node-0", 9.0, commits) == pytest.approx([0.5])
    # Its hub has ended, and the other one is there: the answer should move.
    happens(20, "down", "hub-0")
    assert outages.recoveries("node-0", 19.0, [Commit(19.9, "hub-0"), Commit(21.5, "hub-1")]) == pytest.approx([1.5])
    assert outages.recoveries("node-0", 19.0, [Commit(19.9, "hub-1"), Commit(21.5, "hub-1")]) == []
    # Neither hub is in reach until the cut of one ends.
    happens(30, "down", lane_of("hub-1"))
    happens(33, "up", lane_of("hub-1"))
    happens(39, "up", "hub-0")
    assert outages.recoveries("node-0", 29.0, [Commit(29.9, "hub-1"), Commit(33.25, "hub-1")]) == pytest.approx([0.25])
    # A message of this node was lost, and later one of another node.
    happens(40, "lost", "sled/session/hub-1/node-0/00/draft")
    happens(40.5, "lost", "sled/session/hub-1/node-1/00/draft")
    assert outages.recoveries("node-0", 39.5, [Commit(39.9, "hub-1"), Commit(40.9, "hub-1")]) == pytest.approx([0.9])


def test_the_schedule_in_json_has_an_event_a_line() -> None:
    lines = draw(3, 60, HUBS, NODES).to_json().splitlines()
    assert all(json.loads(line.rstrip(","))["kind"] for line in lines[1:-1])
