"""One session at a time with the hub that serves: opening, leaving, and what each fault leads to."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from edge_node.link.channel import Channel, HubMessage, News
from edge_node.link.directory import SeenHub
from edge_node.link.serving_hub import ServingHub
from shared.errors import HubRefused, NoHub
from shared.messages import Draft, Fault, FaultCode, Opened
from tests.clock import Clock


@dataclass
class Link:
    """Stands in for `HubLink` and for its openings: sessions come of the hubs in `next_hubs`, and what is done is noted."""

    next_hubs: list[tuple[str, str]]  # name, target
    clock: Clock
    done: list[tuple[str, str | None]] = field(default_factory=list)
    bytes_down: int = 0
    trouble: str = ""
    offline: str = ""
    silent: str = ""
    hub: str | None = None
    stats: dict[str, int] = field(default_factory=dict)
    excesses: list[float] = field(default_factory=list)

    def opening(self, prefer: str | None = None, target: str | None = None) -> Link:
        self.done.append(("open", prefer))
        return self

    def step(self, timeout_s: float) -> Channel | None:
        if not self.next_hubs:
            self.clock.sleep(timeout_s)
            return None
        hub, target = self.next_hubs.pop(0)
        session = bytes([len(self.done)]) * 16
        return Channel(hub, session, Opened(session, target, 4096, 16, (0,), 0.0, 0, 1.0))

    def abandon(self) -> None:
        self.done.append(("abandon", None))

    def failure(self) -> NoHub:
        return NoHub("none")

    def leave(self, channel: Channel) -> None:
        self.done.append(("leave", channel.hub))

    def send(self, channel: Channel, draft: Draft) -> int:
        self.done.append(("send", channel.hub))
        return 12

    def receive(self, channel: Channel, timeout_s: float) -> HubMessage | News | None:
        return None

    def seen(self, hub: str) -> SeenHub:
        return SeenHub(online=hub != self.offline, stats=self.stats)

    def is_silent(self, hub: str) -> bool:
        return hub == self.silent

    def excess(self, hub: str, target: str) -> float:
        return self.excesses.pop(0)

    def has_other(self, hub: str, target: str) -> bool:
        return any(name != hub and runs == target for name, runs in self.next_hubs)


def serving(*hubs: tuple[str, str]) -> tuple[ServingHub, Link, list[float]]:
    clock, slept = Clock(), list[float]()
    link = Link(list(hubs), clock)
    return ServingHub(link, 1.0, clock, slept.append), link, slept  # type: ignore[arg-type]


def opened(hub: ServingHub) -> Channel:
    return hub.open(lambda _: None)


def test_a_session_is_opened_used_and_left_once() -> None:
    hub, link, _ = serving(("attic", "big"))
    channel = opened(hub)
    assert hub.channel is channel
    assert hub.seen.online
    assert hub.send(Draft(1, 0, 0)) == 12
    hub.leave()
    hub.leave()
    assert hub.channel is None
    assert link.done == [("open", None), ("send", "attic"), ("leave", "attic")]


def test_who_waits_for_a_hub_is_told_what_for_and_then_why_there_is_none() -> None:
    hub, _, _ = serving()
    told: list[str] = []
    with pytest.raises(NoHub, match="none"):
        hub.open(told.append)
    assert set(told) == {"none"}
    assert hub.channel is None


def test_who_can_go_on_alone_does_not_wait_for_a_hub_that_may_still_answer() -> None:
    hub, link, _ = serving()
    link.hub = "frozen"
    with pytest.raises(NoHub):
        hub.open(lambda _: None, limit_s=0.5)
    assert link.clock.now < 0.7
    with pytest.raises(NoHub):
        opened(hub)
    assert link.clock.now > 8, "others wait for what it answers"


def test_a_session_is_asked_for_anew_with_the_same_hub_where_it_is_there() -> None:
    hub, link, _ = serving(("attic", "big"), ("cellar", "big"))
    opened(hub)
    hub.reopen("it was lost")
    assert hub.send(Draft(1, 0, 0)) == 0, "there is no session to send it in"
    assert hub.receive(0.0) is News.OPENED
    assert link.done == [("open", None), ("leave", "attic"), ("open", "attic")], "left, then the same one is asked for"
    assert hub.channel is not None
    assert hub.channel.hub == "cellar", "it was not there, and another that runs the same target was"


def test_another_target_would_go_on_with_another_text_so_the_session_ends() -> None:
    hub, link, _ = serving(("attic", "big"), ("cellar", "small"))
    opened(hub)
    hub.reopen("it was lost")
    with pytest.raises(HubRefused, match="hub 'cellar' runs 'small' instead of 'big'"):
        hub.receive(0.0)
    assert hub.channel is None
    assert link.done[-1] == ("leave", "cellar"), "nothing is left open"


def test_a_hub_is_left_when_it_is_gone_or_silent_and_another_is_there() -> None:
    hub, link, _ = serving(("attic", "big"))
    opened(hub)
    assert not hub.has_left()
    link.offline = "attic"
    assert (hub.has_left(), hub.trouble) == (True, "hub 'attic' is offline")
    link.trouble = "the broker is away"
    assert (hub.has_left(), hub.trouble) == (False, "the broker is away"), "nobody knows what the hub does"
    link.offline = link.trouble = ""
    link.silent = "attic"
    assert not hub.has_left(), "no other is there"
    assert "says nothing" in hub.trouble
    link.next_hubs = [("cellar", "small")]
    assert not hub.has_left()
    link.next_hubs = [("cellar", "big")]
    assert hub.has_left()


def test_whether_a_session_moves_is_thought_over_once_for_each_word_of_its_hub() -> None:
    hub, link, _ = serving(("attic", "big"))
    assert not hub.is_crowded(), "no session is open"
    opened(hub)
    link.excesses = [1.0, 0.0, 1.0]
    assert hub.is_crowded()
    assert not hub.is_crowded()
    link.stats = {"sessions": 3}
    assert not hub.is_crowded()
    link.stats, link.trouble = {"sessions": 4}, "the broker is away"
    assert not hub.is_crowded(), "nothing can be opened elsewhere"
    link.trouble = ""
    assert hub.is_crowded()


def test_about_as_many_sessions_move_as_there_are_too_many() -> None:
    moved = 0
    for _ in range(400):
        hub, link, _ = serving(("attic", "big"))
        opened(hub)
        link.excesses = [0.25]
        moved += hub.is_crowded()
    assert 50 < moved < 150


@pytest.mark.parametrize("code", FaultCode)
def test_what_each_fault_leads_to(code: FaultCode) -> None:
    hub, _, slept = serving(*[("attic", "big")] * 30)
    opened(hub)
    fault = Fault(code, detail="so it is", retry_after_ms=200)
    if code in {FaultCode.UNKNOWN_SESSION, FaultCode.OUT_OF_SYNC, FaultCode.MOVED}:
        hub.reopen_after(fault)
        assert hub.channel is None
        assert not slept, "a new session helps at once"
    elif code is FaultCode.BUSY:
        for _ in range(20):
            hub.reopen_after(fault)
            assert hub.receive(0.0) is News.OPENED
        assert all(0.1 <= seconds <= 0.3 for seconds in slept)
        assert len(set(slept)) > 10, "not all nodes come back at the same moment"
    else:
        with pytest.raises(HubRefused, match="hub 'attic': so it is"):
            hub.reopen_after(fault)
