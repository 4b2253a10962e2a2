"""Asking one hub after the other for a session."""

from __future__ import annotations

import json

import pytest

from edge_node.link.channel import Channel
from edge_node.link.directory import HubDirectory
from edge_node.link.opening import Opening
from shared.errors import HubRefused, IncompatiblePair
from shared.messages import Fault, FaultCode, Opened
from shared.topics import Topics
from tests.clock import Clock

TOKENIZER = bytes(16)


class House:
    """Hubs that answer in their own way; time passes where an answer is waited for."""

    def __init__(self, **hubs: Fault | str) -> None:
        """A hub's way: "opens", "mute", "twice", or the fault that it answers with."""
        self.clock = Clock()
        self.trouble = ""
        self.hubs = hubs
        self.asked: list[str] = []
        self.given_up: list[str] = []
        self.directory = HubDirectory(Topics(), "home", TOKENIZER, self.clock)
        self._answers: dict[bytes, list[Opened | Fault]] = {}
        for hub in hubs:
            self.speak(hub)

    def speak(self, hub: str) -> None:
        facts = {"pair": "home", "tokenizer": TOKENIZER.hex(), "target": "home/float32"}
        self.directory.take_in(f"sled/hub/{hub}/info", json.dumps(facts).encode())
        self.directory.take_in(f"sled/hub/{hub}/status", b'{"online": true}')

    def ask_for(self, hub: str, session: bytes) -> None:
        self.asked.append(hub)
        way = self.hubs[hub]
        if isinstance(way, Fault):
            self._answers[session] = [way]
        elif way == "opens":
            self._answers[session] = [Opened(session, "home/float32", 512, 16, (0,), 0.0, 0, 1.0)]
        elif way == "twice" and self.asked.count(hub) == 2:
            self._answers[session] = [Fault(FaultCode.BUSY, "no room", 2000)] * 2

    def reply(self, session: bytes, timeout_s: float) -> Opened | Fault | None:
        waiting = self._answers.get(session, [])
        answer = waiting.pop(0) if waiting else None
        self.clock.sleep(timeout_s if answer is None else 0.01)
        return answer

    def give_up(self, hub: str, session: bytes) -> None:
        self.given_up.append(hub)

    def opening(self, prefer: str | None = None) -> Opening:
        return Opening(self, self.directory, prefer, clock=self.clock)

    def open(self, opening: Opening, seconds: float) -> Channel | None:
        """Go on until a session is open, at most so long, while all hubs but mute ones say every second that they live."""
        for _ in range(int(2 * seconds)):
            channel = opening.step(0.5)
            if channel is not None:
                return channel
            for hub, way in self.hubs.items():
                if way != "mute":
                    self.speak(hub)
        return None


def test_a_hub_that_lives_opens_a_session_at_once() -> None:
    house = House(attic="opens")
    channel = house.open(house.opening(), 1)
    assert channel is not None
    assert (channel.hub, house.clock.now < 0.1) == ("attic", True)


@pytest.mark.parametrize("mute", [1, 2, 3])
def test_hubs_that_do_not_answer_are_left_for_one_that_does(mute: int) -> None:
    for _ in range(20):
        house = House(attic="opens", **{f"ghost-{n}": "mute" for n in range(mute)})
        channel = house.open(house.opening(prefer="ghost-0"), 10)
        assert channel is not None
        assert channel.hub == "attic"
        assert house.clock.now < 1.0 * mute
        assert sorted(house.given_up) == sorted(hub for hub in house.asked if hub != "attic")


def test_a_lone_hub_that_is_slow_is_asked_again_for_the_same_session() -> None:
    house = House(attic="mute")
    opening = house.opening()
    house.open(opening, 2)
    house.hubs["attic"] = "opens"
    assert len(house.asked) >= 2
    assert house.given_up == []
    assert house.open(opening, 2) is not None


def test_a_hub_without_room_is_come_back_to_when_it_says_so() -> None:
    house = House(attic=Fault(FaultCode.BUSY, "no room", 2000))
    opening = house.opening()
    assert house.open(opening, 0.5) is None
    assert str(opening.failure()) == "hub 'attic': no room"
    house.hubs["attic"] = "opens"
    assert house.open(opening, 10) is not None
    assert 1.0 <= house.clock.now <= 4.0


def test_a_hub_that_was_asked_twice_may_refuse_twice() -> None:
    house = House(attic="twice")
    opening = house.opening()
    assert house.open(opening, 1.5) is None
    assert len(house.asked) == 2
    house.hubs["attic"] = "opens"
    assert house.open(opening, 5) is not None


def test_another_hub_is_asked_where_one_has_no_room() -> None:
    for _ in range(20):
        house = House(attic=Fault(FaultCode.BUSY, "no room", 60_000), cellar="opens")
        channel = house.open(house.opening(prefer="attic"), 5)
        assert channel is not None
        assert channel.hub == "cellar"


def test_another_hub_is_asked_at_once_where_one_ends() -> None:
    for _ in range(20):
        house = House(attic=Fault(FaultCode.MOVED, "it ends"), cellar="opens")
        channel = house.open(house.opening(prefer="attic"), 5)
        assert channel is not None
        assert (channel.hub, house.clock.now < 0.7) == ("cellar", True)


@pytest.mark.parametrize(
    ("code", "error"), [(FaultCode.WRONG_TOKENIZER, IncompatiblePair), (FaultCode.UNKNOWN_PAIR, HubRefused)]
)
def test_a_refusal_for_good_is_told(code: FaultCode, error: type[Exception]) -> None:
    house = House(attic=Fault(code, "so it is"))
    with pytest.raises(error, match="hub 'attic': so it is"):
        house.open(house.opening(), 1)


def test_whose_fault_it_is_that_no_session_opens() -> None:
    house = House(attic="mute")
    opening = house.opening()
    house.open(opening, 1)
    assert str(opening.failure()) == "hub 'attic' has not answered yet"
    house.clock.now += 3
    house.speak("attic")
    assert "hub 'attic' lives but does not answer" in str(opening.failure())
    house.clock.now += 2
    opening.step(0.1)
    assert "says nothing at all" in str(opening.failure())
    house.clock.now += 2
    opening.step(0.1)
    assert "but says nothing" in str(opening.failure())
    house.trouble = "the broker is away"
    assert str(opening.failure()) == "the broker is away"
