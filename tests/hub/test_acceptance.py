"""A session's acceptance rate begins as the hub's and becomes its own."""

from __future__ import annotations

import pytest

from hub.sessions.acceptance import Acceptance


def test_a_hub_that_has_verified_nothing_assumes_three_of_four() -> None:
    assert Acceptance().rate == pytest.approx(0.75)
    assert Acceptance(Acceptance()).rate == pytest.approx(0.75)


def test_a_new_session_is_believed_to_be_as_the_others_were() -> None:
    hub = Acceptance()
    for _ in range(400):
        Acceptance(hub).add(accepted=1, rejected=True)
    assert hub.rate == pytest.approx(0.5, abs=0.01)
    assert Acceptance(hub).rate == hub.rate


def test_with_its_own_rounds_a_session_is_judged_by_them() -> None:
    hub = Acceptance()
    for _ in range(2000):
        Acceptance(hub).add(accepted=1, rejected=True)
    good = Acceptance(hub)
    rates = []
    for _ in range(60):
        good.add(accepted=1, rejected=False)
        rates.append(good.rate)
    assert hub.rate < 0.55
    assert rates[0] < 0.6, "one round of its own does not decide"
    assert rates == sorted(rates)
    assert rates[-1] > 0.8, "sixty do"


def test_newer_rounds_count_more() -> None:
    made = Acceptance(Acceptance())
    for _ in range(100):
        made.add(accepted=0, rejected=True)
    low = made.rate
    for _ in range(100):
        made.add(accepted=1, rejected=False)
    assert low < 0.3
    assert made.rate > 0.7, "a mean over all rounds alike would be at one half"


def test_rounds_without_drafted_tokens_tell_the_hub_nothing() -> None:
    hub = Acceptance()
    Acceptance(hub).add(accepted=0, rejected=False)
    assert (hub.hits, hub.tries) == (0.0, 0.0)
