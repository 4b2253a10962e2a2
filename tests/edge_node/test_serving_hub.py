"""One session at a time with the hub that serves: opening, leaving, and what each fault leads to."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from edge_node.link.directory import SeenHub
from edge_node.link.hub_link import Channel, HubMessage
from edge_node.link.serving_hub import ServingHub
from shared.errors import HubRefused, NoHub
from shared.messages import Draft, Fault, FaultCode, Opened


@dataclass
class Link:
    """Stands in for `HubLink`: opens sessions with the hubs in `next_hubs`, one after the other, and notes what is done."""

    next_hubs: list[tuple[str, str]]  # name, target
    done: list[tuple[str, str | None]] = field(default_factory=list)
    bytes_down: int = 0

    def open(self, wait_s: float, prefer: str | None = None) -> Channel:
        self.done.append(("open", prefer))
        if not self.next_hubs:
            raise NoHub("none")
        hub, target = self.next_hubs.pop(0)
        session = bytes([len(self.done)]) * 16
        return Channel(hub, session, Opened(session, target, 4096, 16, (0,), 0.0, 0, 1.0))

    def leave(self, channel: Channel) -> None:
        self.done.append(("leave", channel.hub))

    def send(self, channel: Channel, draft: Draft) -> int:
        self.done.append(("send", channel.hub))
        return 12

    def receive(self, channel: Channel, timeout_s: float) -> HubMessage | None:
        return None

    def seen(self, hub: str) -> SeenHub:
        return SeenHub(online=hub == "attic")


def serving(*hubs: tuple[str, str]) -> tuple[ServingHub, Link, list[float]]:
    link, slept = Link(list(hubs)), list[float]()
    return ServingHub(link, 1.0, slept.append), link, slept  # type: ignore[arg-type]


def test_a_session_is_opened_used_and_left_once() -> None:
    hub, link, _ = serving(("attic", "big"))
    channel = hub.open()
    assert hub.channel is channel
    assert (hub.name, hub.seen.online) == ("attic", True)
    assert hub.send(Draft(1, 0, 0)) == 12
    hub.leave()
    hub.leave()
    assert hub.channel is None
    assert link.done == [("open", None), ("send", "attic"), ("leave", "attic")]


def test_a_session_is_opened_anew_with_the_same_hub_where_it_is_there() -> None:
    hub, link, _ = serving(("attic", "big"), ("cellar", "big"))
    hub.open()
    channel = hub.reopen("it was lost")
    assert link.done == [("open", None), ("leave", "attic"), ("open", "attic")], "left, then the same one is asked for"
    assert hub.channel is channel
    assert hub.name == "cellar", "it was not there, and another that runs the same target was"


def test_another_target_would_go_on_with_another_text_so_the_session_ends() -> None:
    hub, link, _ = serving(("attic", "big"), ("cellar", "small"))
    hub.open()
    with pytest.raises(HubRefused, match="it was lost, and hub 'cellar' runs 'small' instead of 'big'"):
        hub.reopen("it was lost")
    assert hub.channel is None
    assert link.done[-1] == ("leave", "cellar"), "nothing is left open"


def test_where_no_hub_is_left_no_session_is_open() -> None:
    hub, _, _ = serving(("attic", "big"))
    hub.open()
    with pytest.raises(NoHub):
        hub.reopen("it was lost")
    assert hub.channel is None


@pytest.mark.parametrize("code", FaultCode)
def test_what_each_fault_leads_to(code: FaultCode) -> None:
    hub, _, slept = serving(("attic", "big"))
    hub.open()
    fault = Fault(code, detail="so it is", retry_after_ms=200)
    if code in {FaultCode.UNKNOWN_SESSION, FaultCode.OUT_OF_SYNC}:
        hub.prepare_reopening(fault)
        assert not slept, "a new session helps at once"
    elif code is FaultCode.BUSY:
        for _ in range(20):
            hub.prepare_reopening(fault)
        assert all(0.1 <= seconds <= 0.3 for seconds in slept)
        assert len(set(slept)) > 10, "not all nodes come back at the same moment"
    else:
        with pytest.raises(HubRefused, match="hub 'attic': so it is"):
            hub.prepare_reopening(fault)
