"""How long a batch waits for drafts, by a clock that the test moves."""

from __future__ import annotations

import gc

import pytest

from hub.engine.window import Window
from hub.sessions.service_classes import ServiceClass
from hub.sessions.session import HubSession, Limits, SessionKey

LIMITS = Limits(context=64, vocab_size=16, end_ids=frozenset(), max_draft=8)
LONG_S = 0.08


def session(number: int = 1, service_class: ServiceClass = ServiceClass.NORMAL) -> HubSession:
    return HubSession(SessionKey("node", bytes([number]) * 16), LIMITS, service_class=service_class)


def left(
    window: Window,
    now: float,
    opened: float = 10.0,
    first: float = 10.0,
    forward_s: float = 0.01,
    service_class: ServiceClass = ServiceClass.NORMAL,
) -> float:
    return window.remaining(opened, first, now, fixed_s=0.02, forward_s=forward_s, service_class=service_class)


def test_nobody_is_waited_for_when_nobody_is_expected() -> None:
    assert left(Window(LONG_S, 1.0), now=10.0) == 0


def test_a_session_that_drafts_is_waited_for_and_no_longer_once_it_has_submitted() -> None:
    window, drafting = Window(LONG_S, 1.0), session()
    for at in (9.0, 9.5):  # it takes 20 ms each time
        window.expect(drafting, at)
        window.submitted(drafting, at + 0.02)
    window.expect(drafting, 10.0)
    assert left(window, now=10.0) == pytest.approx(0.03), "half as long again as it takes on average"
    assert left(window, now=10.02) == pytest.approx(0.01)
    window.submitted(drafting, 10.02)
    assert left(window, now=10.02) == 0


def test_a_session_that_is_silent_for_long_is_not_waited_for() -> None:
    window, silent = Window(10.0, 100.0), session()
    window.expect(silent, 9.8)
    assert left(window, now=10.0) == 0


def test_a_session_that_was_closed_is_not_waited_for() -> None:
    window, closed = Window(10.0, 100.0), session()
    window.expect(closed, 10.0)
    assert left(window, now=10.0) > 0
    del closed
    gc.collect()
    assert left(window, now=10.0) == 0


def test_a_due_draft_closes_the_window_early() -> None:
    window, drafting = Window(LONG_S, 0.05), session()
    window.expect(drafting, 9.98)
    window.submitted(drafting, 10.01)
    window.expect(drafting, 10.0)
    assert left(window, now=10.0, first=10.0, forward_s=0.03) == 0, "waited for, it would come at 10.045, due 10.02"
    assert left(window, now=10.0, first=10.0, forward_s=0.0) == pytest.approx(0.045)


def test_without_a_length_of_its_own_it_is_open_for_a_forwards_fixed_time() -> None:
    window, drafting = Window(None, 1.0), session()
    window.expect(drafting, 9.99)
    window.submitted(drafting, 10.0)
    window.expect(drafting, 10.0)
    assert left(window, now=10.0) == pytest.approx(0.015)
    assert window.remaining(10.0, 10.0, 10.0, 0.01, 0.0, ServiceClass.NORMAL) == 0


def test_only_waits_for_drafted_tokens_count_into_the_mean() -> None:
    window = Window(LONG_S, 1.0)
    window.close(0.05, speculating=False)
    assert window.mean_wait == 0
    window.close(0.05, speculating=True)
    assert window.mean_wait == pytest.approx(0.005)


def test_a_session_of_a_lower_class_is_not_waited_for_and_one_of_a_higher_class_beyond_the_window() -> None:
    window, voice = Window(0.01, 0.02), session(service_class=ServiceClass.VOICE)
    window.expect(voice, 9.0)
    window.submitted(voice, 9.04)
    window.expect(voice, 10.0)
    assert left(window, now=10.0) == pytest.approx(0.1), "longer than the window, and than a draft is due"
    assert left(window, now=10.1) == 0, "it is silent"
    window, normal = Window(LONG_S, 1.0), session()
    window.expect(normal, 9.0)
    window.submitted(normal, 9.04)
    window.expect(normal, 10.0)
    assert left(window, now=10.0) == pytest.approx(0.06)
    assert left(window, now=10.0, service_class=ServiceClass.VOICE) == 0
