"""Which hub a node asks: tables of what hubs have published."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from edge_node.link.directory import HubDirectory
from shared.errors import IncompatiblePair, NoHub, ProtocolError
from shared.pair import load_pair
from shared.topics import Topics
from tests.clock import Clock

PAIR = load_pair("home")
INFO = {"pair": PAIR.name, "tokenizer": PAIR.tokenizer_hash().hex()}


CLOCK = Clock(1000.0)


def directory(**hubs: dict[str, Any]) -> HubDirectory:
    found = HubDirectory(Topics(), PAIR.name, PAIR.tokenizer_hash(), CLOCK)
    for name, facts in hubs.items():
        publish(found, name, **facts)
    return found


def publish(
    found: HubDirectory, hub: str, online: bool = True, sessions: object = 0, kept: bool = False, **info: str
) -> None:
    for leaf, value in (("info", INFO | info), ("stats", {"sessions": sessions}), ("status", {"online": online})):
        found.take_in(f"sled/hub/{hub}/{leaf}", json.dumps(value).encode(), kept=kept)


def speak(found: HubDirectory, hub: str) -> None:
    """What a hub says every second."""
    found.take_in(f"sled/hub/{hub}/stats", b'{"sessions": 0}')


def find(found: HubDirectory, prefer: str | None = None) -> str | None:
    return found.choose(prefer)


def test_the_less_loaded_of_two_is_taken() -> None:
    assert {find(directory(attic={"sessions": 3}, cellar={"sessions": 1})) for _ in range(20)} == {"cellar"}


def test_of_many_hubs_none_gets_every_node() -> None:
    found = directory(**{f"hub-{n}": {"sessions": n} for n in range(10)})
    assert len({find(found) for _ in range(200)}) > 3, "a load that is a second old must not send everybody to one hub"


def test_the_preferred_hub_is_taken_while_it_serves() -> None:
    found = directory(attic={"sessions": 9}, cellar={})
    assert find(found, prefer="attic") == "attic"
    publish(found, "attic", online=False)
    assert find(found, prefer="attic") == "cellar"


@pytest.mark.parametrize("sessions", [-1, 2**40, "many", None, 1.5])
def test_a_load_that_is_no_load_counts_as_none(sessions: object) -> None:
    assert {find(directory(odd={"sessions": sessions}, cellar={"sessions": 1})) for _ in range(20)} == {"odd"}


@pytest.mark.parametrize(
    ("hubs", "error", "says"),
    [
        ({}, NoHub, "no hub is online below 'sled'"),
        ({"attic": {"online": False}}, NoHub, "no hub is online below 'sled'"),
        ({"attic": {"pair": "other"}}, NoHub, r"no hub serves the pair 'home' \('attic' serves 'other'\)"),
        ({"attic": {"tokenizer": "00"}}, IncompatiblePair, "hub 'attic' serves 'home' with another tokenizer"),
    ],
)
def test_where_no_hub_fits_the_error_says_what_there_is(
    hubs: dict[str, dict[str, Any]], error: type[Exception], says: str
) -> None:
    found = directory(**hubs)
    assert find(found) is None
    assert isinstance(found.why_none(), error)
    assert re.search(says, str(found.why_none()))


def test_a_hub_that_came_after_the_last_look_is_not_called_one_of_another_pair() -> None:
    found = directory(attic={"online": False})
    assert find(found) is None
    speak(found, "attic")
    assert str(found.why_none()) == "hub 'attic' has just come, and is asked now"


def test_a_hub_that_has_not_said_what_it_serves_is_told_of_so() -> None:
    found = directory()
    speak(found, "attic")
    assert "'home' ('attic' has not said what it serves)" in str(found.why_none())


def test_where_only_another_target_runs_the_error_says_so() -> None:
    found = directory(attic={"target": "home/float32"})
    assert found.choose(None, target="home/bfloat16") is None
    assert str(found.why_none("home/bfloat16")).startswith("no hub runs 'home/bfloat16', with which the answer began")


@pytest.mark.parametrize(
    ("attic", "cellar", "barn", "excess"),
    [
        (30, 0, None, 0.5),
        (30, 0, 0, 2 / 3),
        (20, 18, None, 0.0),  # hardly more
        (2, 0, None, 0.0),  # one session too many is no reason
        (0, 30, None, 0.0),
        (30, None, None, 0.0),  # there is no other
    ],
)
def test_by_how_much_a_hub_has_too_many_sessions(
    attic: int, cellar: int | None, barn: int | None, excess: float
) -> None:
    found = directory(
        **{
            hub: {"sessions": n, "target": "big"}
            for hub, n in zip(("attic", "cellar", "barn"), (attic, cellar, barn), strict=True)
            if n is not None
        },
        shed={"sessions": 0, "target": "small"},
    )
    assert found.excess("attic", "big") == pytest.approx(excess)
    assert found.excess("nobody", "big") == 0.0


def test_nobody_moves_to_a_hub_that_has_left_or_is_silent() -> None:
    found = directory(attic={"sessions": 30, "target": "big"}, cellar={"target": "big"})
    found.take_leave("cellar")
    found.take_leave("nobody")
    assert found.excess("attic", "big") == 0.0
    assert find(found, prefer="cellar") == "attic"
    speak(found, "cellar")
    assert found.excess("attic", "big") == 0.5


def test_a_hub_that_has_left_is_there_again_when_it_speaks() -> None:
    found = directory(attic={})
    assert found.take_in("sled/hub/attic/status", b'{"online": false}'), "it has gone"
    assert find(found) is None
    speak(found, "attic")
    assert find(found) == "attic", "the last will was of a connection that it had before"


def test_a_hub_that_tries_the_broker_does_not_live_yet() -> None:
    found = directory(attic={"online": False})
    for leaf in ("status", "info", "stats"):
        found.take_in(f"sled/hub/attic/{leaf}", b"{}")
    assert not found.seen("attic").online


def test_what_the_broker_has_kept_of_a_hub_is_believed_for_a_while() -> None:
    found = directory(ghost={"kept": True})
    assert find(found) == "ghost"
    assert not found.seen("ghost").proven
    CLOCK.now += 4
    assert find(found) is None
    assert "but says nothing" in str(found.why_none())
    speak(found, "ghost")
    assert find(found) == "ghost"


def test_a_hub_that_lives_comes_before_one_that_the_broker_tells_of() -> None:
    found = directory(ghost={"kept": True}, attic={"sessions": 99})
    assert {find(found) for _ in range(50)} == {"attic"}


def test_a_hub_that_has_fallen_silent_is_asked_last_and_then_not_at_all() -> None:
    found = directory(frozen={})
    CLOCK.now += 2
    publish(found, "attic", sessions=99)
    assert found.is_silent("frozen")
    assert {find(found, prefer="frozen") for _ in range(50)} == {"attic"}
    assert found.choose(None, avoid={"attic"}) == "frozen", "silent for two seconds, it may be slow"
    CLOCK.now += 2
    assert found.choose(None, avoid={"attic"}) == "attic"
    found.hear("frozen")
    assert not found.is_silent("frozen"), "a verdict is a word too"


def test_only_hubs_that_run_the_target_are_chosen_where_it_counts() -> None:
    found = directory(attic={"target": "home/float32"}, cellar={"target": "home/bfloat16"})
    assert {found.choose(None, target="home/bfloat16") for _ in range(20)} == {"cellar"}
    assert found.choose(None, target="other") is None


@pytest.mark.parametrize(
    ("leaf", "payload"),
    [
        ("status", b"{"),
        ("info", b"[1]"),
        ("stats", b"\xff"),
        ("info", b"[" * 10_000),
        ("info", b'{"pair": "' + b"x" * 16_384 + b'"}'),
    ],
)
def test_what_is_no_state_of_a_hub_is_refused_and_changes_nothing(leaf: str, payload: bytes) -> None:
    found = directory(attic={})
    with pytest.raises(ProtocolError):
        found.take_in(f"sled/hub/attic/{leaf}", payload)
    assert find(found) == "attic"


def test_there_are_not_endlessly_many_hubs() -> None:
    found = directory(**{f"hub-{n}": {} for n in range(256)})
    with pytest.raises(ProtocolError, match="more than 256 hubs"):
        publish(found, "one-more")
    publish(found, "hub-3", sessions=4)
    assert found.seen("hub-3").load == 4


def test_an_empty_payload_clears_what_was_retained() -> None:
    found = directory(attic={})
    found.take_in("sled/hub/attic/status", b"")
    assert not found.seen("attic").online
