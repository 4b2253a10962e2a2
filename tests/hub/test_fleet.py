"""What is made of what hubs and nodes publish: rates, restarts, silence, bounds."""

from __future__ import annotations

import dataclasses

import pytest

from hub.fleet.fleet import MOST_HUBS, MOST_STATE
from hub.fleet.order import Sort, ordered
from hub.fleet.presence import State
from hub.fleet.rights import doubts
from hub.fleet.settings import FleetSettings
from shared.errors import ProtocolError
from tests.published_fleet import PublishedFleet

RATES = ("tokens_per_s", "acceptance", "forwards_per_s", "tokens_per_forward", "in_forwards", "faults_per_s")


@pytest.fixture
def told() -> PublishedFleet:
    told = PublishedFleet()
    told.start_hub("den")
    return told


def test_rates_are_differences_over_the_hubs_own_clock(told: PublishedFleet) -> None:
    told.count("den", 50.0, committed=100, drafted=10, accepted=5, forward_us=1_000_000)
    told.clock.sleep(0.1)  # the first was late, or the second early: that changes nothing
    told.count(
        "den", 52.0, committed=300, drafted=110, accepted=85, target_forwards=30, prefill_forwards=10,
        forward_us=2_500_000, rows=60, faults=1, sessions=7, kv_bytes=4096, held_bytes=1024,
    )  # fmt: skip
    view = told.hub_view("den")
    assert (view.tokens_per_s, view.forwards_per_s, view.faults_per_s) == (100.0, 20.0, 0.5)
    assert (view.acceptance, view.tokens_per_forward, view.in_forwards) == (0.8, 5.0, 0.75)
    assert view.rows_per_forward == 1.5
    assert (view.sessions, view.kv_bytes, view.held_bytes) == (7, 4096, 1024)


def test_rates_are_of_the_last_seconds(told: PublishedFleet) -> None:
    for second in range(20):
        told.count("den", second, committed=100 * min(second, 12))
    assert told.hub_view("den").tokens_per_s == 0.0, "it has done nothing for 7 s"
    told.count("den", 20, committed=1300)
    assert told.hub_view("den").tokens_per_s == pytest.approx(20.0)


def test_what_is_told_once_or_twice_the_same_has_no_rates(told: PublishedFleet) -> None:
    told.count("den", 50.0, committed=100)
    told.count("den", 50.0, committed=100)
    told.count("den", 50.1, committed=900)  # so soon that it means little
    assert {getattr(told.hub_view("den"), rate) for rate in RATES} == {None}


def test_where_nothing_was_drafted_there_is_no_acceptance(told: PublishedFleet) -> None:
    for second in (1, 2):
        told.count("den", second, drafted=10, accepted=9)
    assert told.hub_view("den").acceptance is None
    assert told.hub_view("den").tokens_per_forward is None


@pytest.mark.parametrize(
    "after",
    [
        {"at_s": 52.0, "committed": 3},  # counters have fallen
        {"at_s": 1.0, "committed": 900},  # so has the clock: the machine was started again
        {"at_s": 90.0, "committed": 900, "up_s": 2.0},  # counters have overtaken those of the run before
    ],
)
def test_a_restart_gives_no_rates_until_the_new_run_has_some(told: PublishedFleet, after: dict[str, float]) -> None:
    told.count("den", 50.0, committed=400, up_s=20.0)
    told.count("den", 51.0, committed=500, up_s=21.0)
    assert told.hub_view("den").tokens_per_s == 100.0
    told.count("den", **after)  # type: ignore[arg-type]
    assert told.hub_view("den").tokens_per_s is None
    later = {**after, "at_s": after["at_s"] + 1, "committed": after["committed"] + 8}
    told.count("den", **later | ({"up_s": 3.0} if "up_s" in after else {}))  # type: ignore[arg-type]
    assert told.hub_view("den").tokens_per_s == 8.0


def test_a_long_forward_that_ends_does_not_take_more_than_all_of_the_time(told: PublishedFleet) -> None:
    told.count("den", 1.0)
    told.count("den", 2.0, forward_us=9_000_000)
    assert told.hub_view("den").in_forwards == 1.0


def test_a_hub_that_says_nothing_is_silent_and_has_no_rates(told: PublishedFleet) -> None:
    for second in (1, 2):
        told.count("den", second, committed=100 * second, up_s=100.0 + second)
    view = told.hub_view("den")
    assert (view.state, view.heard, view.for_s) == (State.ONLINE, True, 102.0)
    told.clock.sleep(3.6)
    view = told.hub_view("den")
    assert (view.state, view.tokens_per_s, view.sessions) == (State.SILENT, None, None)
    assert view.for_s == pytest.approx(3.6)
    told.count("den", 6, committed=300, up_s=106.0)
    assert told.hub_view("den").state is State.ONLINE


def test_what_the_broker_keeps_of_a_dead_hub_is_told_from_life(told: PublishedFleet) -> None:
    told.start_hub("ghost", kept=True)
    told.count("ghost", 7, kept=True, committed=5)
    assert (told.hub_view("ghost").state, told.hub_view("ghost").heard) == (State.ONLINE, False)
    assert not told.fleet.is_known, "it may live: wait"
    told.clock.sleep(4)
    view = told.hub_view("ghost")
    assert (view.state, view.for_s) == (State.SILENT, None), "since when nobody knows"
    told.count("ghost", 9, committed=9)
    assert told.hub_view("ghost").state is State.ONLINE
    assert told.hub_view("ghost").tokens_per_s == 2.0, "by its own clock, also since what was kept"


def test_a_last_will_takes_a_program_offline_and_a_word_brings_it_back(told: PublishedFleet) -> None:
    told.hub("den", "status", {"online": False})
    told.start_hub("attic", kept=True)
    told.hub("attic", "status", {"online": False}, kept=True)
    told.clock.sleep(5)
    assert (told.hub_view("den").state, told.hub_view("den").for_s) == (State.OFFLINE, 5.0)
    assert (told.hub_view("attic").state, told.hub_view("attic").for_s) == (State.OFFLINE, None)
    told.count("den", 1)
    assert told.hub_view("den").state is State.ONLINE, "the will was of a connection that it had before"


def test_a_node_is_believed_longer_as_it_speaks_seldom(told: PublishedFleet) -> None:
    told.start_node("pi", kept=True)
    told.clock.sleep(80)
    assert (told.node_view("pi").state, told.node_view("pi").heard) == (State.ONLINE, False)
    told.clock.sleep(20)
    assert told.node_view("pi").state is State.SILENT
    told.node("pi", "stats", {"answers": 1})
    assert told.node_view("pi").state is State.ONLINE
    told.node("pi", "status", {"online": False, "instance": "a"})
    assert told.node_view("pi").state is State.OFFLINE


def test_a_nodes_figures_are_those_that_it_tells(told: PublishedFleet) -> None:
    draft = {"version": "model:0123456789abcdef", "fallen": True}
    told.start_node(
        "pi", mode="speculate", tokens_per_s=31.5, acceptance=0.75, answers=9, errors=1, waiting=2, answering=1, draft=draft,
        hub="den", at=["attic", 5, "<b>"], rtt_ms=12.5, first_token_ms=-1, at_us=90_000_000, answered_us=60_000_000, up_s=80.0,
    )  # fmt: skip
    told.clock.sleep(5)
    view = told.node_view("pi")
    assert (view.mode, view.tokens_per_s, view.acceptance, view.hub) == ("speculate", 31.5, 0.75, "den")
    assert (view.answering, view.waiting, view.answers, view.errors) == (1, 2, 9, 1)
    assert (view.draft, view.fallen) == ("model:0123456789abcdef", True)
    assert (view.answered_s, view.for_s) == (35.0, 85.0)
    assert (view.at, view.rtt_ms, view.first_token_ms) == (("attic", "<b>"), 12.5, None)


@pytest.mark.parametrize(
    ("leaf", "payload"),
    [
        ("status", b"{"),
        ("info", b"[1]"),
        ("stats", b"\xff"),
        ("info", b"[" * 10_000),
        ("stats", b'{"at_us": ' + b"9" * 5_000 + b"}"),
        ("info", b'{"pair": "' + b"x" * MOST_STATE + b'"}'),
    ],
)
def test_what_is_no_state_is_refused_and_changes_nothing(told: PublishedFleet, leaf: str, payload: bytes) -> None:
    before = told.fleet.view
    with pytest.raises(ProtocolError):
        told.hub("den", leaf, payload)
    with pytest.raises(ProtocolError):
        told.node("pi", leaf, payload)
    assert told.fleet.view == before


@pytest.mark.parametrize("odd", [-1, "7", None, True, [1], {}, 1e300, float("nan"), float("inf"), 2**70])
def test_a_number_that_is_none_is_not_known(told: PublishedFleet, odd: object) -> None:
    for second in (1, 2):
        told.count("den", second, sessions=odd, committed=odd, kv_bytes=odd, up_s=odd)
    told.start_node("pi", acceptance=odd, tokens_per_s=odd, answers=odd, at_us=odd, answered_us=odd, draft=odd)
    view, node = told.hub_view("den"), told.node_view("pi")
    assert (view.sessions, view.tokens_per_s, view.kv_bytes, view.for_s) == (None, None, None, None)
    assert (node.acceptance, node.tokens_per_s, node.answers, node.answered_s, node.draft) == (None,) * 4 + ("",)


def test_texts_are_short_and_harmless(told: PublishedFleet) -> None:
    hostile = "\x1b]0;owned\x07\x1b[2J\r\n\u202eevil\u2028" + "x" * 5_000
    told.start_hub("den", pair=hostile, target=7, device=["cpu"], version=hostile)
    view = told.hub_view("den")
    for text in (view.pair, view.version):
        assert text.isprintable()
        assert text.startswith("\\x1b]0;owned\\x07\\x1b[2J \\u202eevil")
        assert len(text) <= 60
    assert (view.target, view.device) == ("", "")


@pytest.mark.parametrize(
    "topic", ["sled/hub/a b/info", "sled/hub//info", "sled/hub/x/y/info", "else/hub/x/info", "sled/hub/\x1b[2J/info"]
)
def test_a_name_that_is_none_is_refused(told: PublishedFleet, topic: str) -> None:
    with pytest.raises(ProtocolError):
        told.fleet.take_hub(topic, b'{"pair": "home"}')
    with pytest.raises(ProtocolError):
        told.fleet.take_node(topic.replace("/hub/", "/node/"), b'{"pair": "home"}')


def test_there_are_not_endlessly_many_hubs(told: PublishedFleet) -> None:
    for n in range(MOST_HUBS - 1):
        told.start_hub(f"hub-{n}")
    assert told.fleet.view.is_whole
    with pytest.raises(ProtocolError, match="more than 1000 hubs"):
        told.start_hub("one-more")
    assert (len(told.fleet.view.hubs), told.fleet.view.is_whole) == (MOST_HUBS, False)
    told.start_hub("den", pair="other")
    assert told.hub_view("den").pair == "other", "those that are there go on being heard"


def test_who_clears_what_was_kept_has_a_program_forgotten(told: PublishedFleet) -> None:
    told.hub("den", "status", b"")
    assert not told.fleet.view.hubs


def test_a_hub_that_tries_the_broker_does_not_live_yet(told: PublishedFleet) -> None:
    for leaf in ("status", "info", "stats"):
        told.hub("attic", leaf, {})
    assert [hub.name for hub in told.fleet.view.hubs] == ["den"]


def test_in_which_order_they_are_shown(told: PublishedFleet) -> None:
    told.hub("den", "status", {"online": False})
    for name in ("idle", "busy", "frozen"):
        told.start_hub(name)
        for second in (1, 2):
            told.count(name, second, committed=second * {"idle": 0, "busy": 9, "frozen": 99}[name])
    told.clock.sleep(4)
    for name in ("idle", "busy"):
        told.count(name, 3, committed=3 * {"idle": 0, "busy": 9}[name])
    orders = {sort: [hub.name for hub in ordered(told.fleet.view.hubs, sort)] for sort in Sort}
    assert orders == {
        Sort.LOAD: ["busy", "idle", "frozen", "den"],
        Sort.NAME: ["busy", "den", "frozen", "idle"],
        Sort.STATE: ["frozen", "den", "busy", "idle"],
    }


def test_who_sees_nobody_or_itself_alone_is_told_which_role_is_needed(told: PublishedFleet) -> None:
    den = FleetSettings(name="den")
    assert doubts(PublishedFleet().fleet.view, den).startswith(
        "nothing was heard of hubs or nodes below 'sled' on the broker at localhost:1883: either there are none, or its user "
        "'den' may not read their state; `sudo sled-hub enroll NAME --role observer`"
    )
    assert doubts(told.fleet.view, den).startswith("'den' itself is all that was heard of")
    assert not doubts(told.fleet.view, dataclasses.replace(den, name="desk"))
