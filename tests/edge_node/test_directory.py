"""Which hub a node asks: tables of what hubs have published."""

from __future__ import annotations

import json
import threading
import time
from typing import Any

import pytest

from edge_node.link.directory import HubDirectory
from shared.errors import IncompatiblePair, NoHub, ProtocolError
from shared.pair import load_pair
from shared.topics import Topics

PAIR = load_pair("home")
INFO = {"pair": PAIR.name, "tokenizer": PAIR.tokenizer_hash().hex()}


def directory(**hubs: dict[str, Any]) -> HubDirectory:
    found = HubDirectory(Topics(), PAIR.name, PAIR.tokenizer_hash())
    for name, facts in hubs.items():
        publish(found, name, **facts)
    return found


def publish(found: HubDirectory, hub: str, online: bool = True, sessions: object = 0, **info: str) -> None:
    for leaf, value in (("status", {"online": online}), ("info", INFO | info), ("stats", {"sessions": sessions})):
        found.take_in(f"sled/hub/{hub}/{leaf}", json.dumps(value).encode())


def find(found: HubDirectory, prefer: str | None = None, wait_s: float = 0.0) -> str:
    return found.find(time.monotonic() + wait_s, prefer)


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
    with pytest.raises(error, match=says):
        find(directory(**hubs))


def test_a_hub_that_comes_while_one_is_waited_for_is_found_at_once() -> None:
    found = directory()
    threading.Timer(0.05, publish, (found, "attic")).start()
    assert find(found, wait_s=60.0) == "attic"


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
