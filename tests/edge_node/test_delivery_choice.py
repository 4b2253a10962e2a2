"""Which draft suits a device, and which hub it comes from."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from edge_node.delivery.choice import Device, best, this_device, tokens_per_s
from edge_node.delivery.hub_files import SeenOffers
from edge_node.delivery.offer import Offer, OfferedDraft, OfferedFile
from edge_node.delivery.pull import find
from shared.errors import DeliveryError

FAST, SLOW, TINY = Device(100e9, 8e9), Device(4e9, 8e9), Device(4e9, 500e6)


@dataclass(frozen=True)
class Facts:
    acceptance: float | None
    step_bytes: int | None


LARGE, SMALL, UNKNOWN = Facts(0.9, 600_000_000), Facts(0.7, 90_000_000), Facts(None, None)


def test_a_fast_memory_takes_the_draft_that_is_right_more_often() -> None:
    assert best([SMALL, LARGE], FAST) is LARGE
    assert best([SMALL, LARGE], SLOW) is SMALL
    assert best([LARGE], TINY) is None
    assert best([], FAST) is None


def test_what_was_measured_goes_before_what_was_not() -> None:
    assert best([UNKNOWN, SMALL], SLOW) is SMALL
    assert best([UNKNOWN, Facts(None, None)], SLOW) is UNKNOWN


def test_the_prediction_is_that_of_the_best_block() -> None:
    # One token: (1 + 0.5) / (0.1 + 0.1) = 7.5; two: 1.75 / 0.3 = 5.8
    assert tokens_per_s(Facts(0.5, 10), Device(100.0, 1e9)) == pytest.approx(7.5)
    assert tokens_per_s(Facts(1.0, 0), Device(1.0, 1e9)) == pytest.approx(170, rel=0.02)


def test_this_device_has_a_bandwidth() -> None:
    assert 1e8 < this_device().bandwidth < 1e13
    assert this_device().free_memory > 2**20


def draft(name: str, acceptance: float) -> OfferedDraft:
    return OfferedDraft(name, acceptance, 1000, (OfferedFile("pair.toml", 5, name.encode() * 4),))


def seen(online: str = "den attic", **pairs: str) -> SeenOffers:
    """Hubs by name, with the pair and the drafts of each; none: it delivers nothing."""
    offers = {}
    for hub, text in pairs.items():
        pair, *drafts = text.split()
        found = {name: draft(name, float(share)) for name, share in (each.split("=") for each in drafts)}
        offers[hub] = Offer(pair, "", delivers=bool(drafts), drafts=found)
    return SeenOffers(offers, frozenset(online.split()))


def test_the_best_of_all_hubs_is_found() -> None:
    both = seen(attic="lamps a=0.5 b=0.6", den="lamps b=0.6 c=0.4")
    assert (find(both, "lamps", "auto").hub, find(both, "lamps", "auto").draft.name) == ("attic", "b")
    assert find(both, "lamps", "auto", "den").hub == "den"
    assert find(both, "lamps", "c").draft.name == "c"


@pytest.mark.parametrize(
    ("offers", "hub", "says"),
    [
        (seen(den="lamps"), "", "its delivery is off"),
        (seen(online="", den="lamps a=1"), "", "is offline"),
        (seen(den="garden a=1"), "", "no hub serves the pair 'lamps' \\('den' has 'garden'\\)"),
        (seen(), "", "no hub on this broker says"),
        (seen(den="lamps a=1"), "attic", "hub 'attic' does not say"),
        (seen(den="lamps b=1"), "", "no hub offers a draft 'a' of 'lamps'; there are: b"),
    ],
)
def test_why_there_is_none(offers: SeenOffers, hub: str, says: str) -> None:
    with pytest.raises(DeliveryError, match=says):
        find(offers, "lamps", "a", hub)
