"""The thread that reads from the broker and the one that computes, in turns."""

from __future__ import annotations

import threading
import time

import pytest

from hub.engine import turns as module
from hub.engine.turns import Turns

LONG_S = 20.0


@pytest.fixture
def turns(monkeypatch: pytest.MonkeyPatch) -> Turns:
    monkeypatch.setattr(module, "_LONGEST_S", LONG_S)
    monkeypatch.setattr(module, "_READING_S", LONG_S)
    return Turns()


def reader(turns: Turns, seen: list[str]) -> threading.Thread:
    def read() -> None:
        with turns.reading():
            time.sleep(0.05)
            seen.append("read")

    thread = threading.Thread(target=read)
    thread.start()
    return thread


def test_what_gathers_in_a_forward_is_read_behind_it_and_before_the_next(turns: Turns) -> None:
    seen: list[str] = []
    turns.collect()
    turns.compute()
    thread = reader(turns, seen)
    time.sleep(0.1)
    seen.append("computed")
    turns.collect()
    seen.append("collected")
    thread.join()
    assert seen == ["computed", "read", "collected"]


def test_an_engine_that_waits_for_messages_gets_them(turns: Turns) -> None:
    seen: list[str] = []
    turns.collect()
    reader(turns, seen).join(LONG_S / 2)
    assert seen == ["read"]


def test_neither_waits_for_the_other_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LONGEST_S", 0.01)
    monkeypatch.setattr(module, "_READING_S", 0.01)
    turns, seen, held = Turns(), [], threading.Event()

    def read() -> None:
        with turns.reading():
            seen.append("read")
            held.wait(LONG_S)

    turns.compute()
    thread = threading.Thread(target=read)
    thread.start()
    while not seen:
        time.sleep(0.01)
    turns.collect()
    seen.append("collected")
    held.set()
    thread.join()
    assert seen == ["read", "collected"]
