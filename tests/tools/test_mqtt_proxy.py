"""The proxy before a real broker: what a lane does to messages, and to connections."""

from __future__ import annotations

import queue
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from shared.mqtt import MqttLink
from tools.rig.broker import private_broker
from tools.rig.lane import Disturbance, Window, one_loss
from tools.rig.mqtt_proxy import MqttProxy, mqtt_proxy
from tools.rig.packets import Publish

TOPIC = "sled/node/pi/echo/there"
LONG_S = 10.0


class Noted:
    """What the proxy has told."""

    def __init__(self) -> None:
        self.up: list[bytes] = []
        self.down: list[bytes] = []
        self.hit: list[tuple[Disturbance, bytes]] = []

    def passed(self, lane: str, upward: bool, publish: Publish) -> None:
        (self.up if upward else self.down).append(publish.payload)

    def disturbed(self, disturbance: Disturbance, publish: Publish) -> None:
        self.hit.append((disturbance, publish.payload))


class Site:
    """A node that hears itself through its lane."""

    def __init__(self, link: MqttLink, proxy: MqttProxy, noted: Noted) -> None:
        self.link, self.proxy, self.noted = link, proxy, noted
        self.heard: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        link.subscribe(TOPIC, lambda _, payload: self.heard.put(payload))

    def say(self, *payloads: bytes) -> None:
        for payload in payloads:
            self.link.publish(TOPIC, payload)

    def hears(self, count: int) -> list[bytes]:
        return [self.heard.get(timeout=LONG_S) for _ in range(count)]

    def disturb(self, disturbance: Disturbance, delay_s: float = 0.0) -> None:
        self.proxy.lanes["pi"].open_window(Window(disturbance, time.monotonic() + LONG_S, 1.0, delay_s))

    def calm(self) -> None:
        self.proxy.lanes["pi"].open_window(Window(Disturbance.DROP, 0.0, 0.0))


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    noted = Noted()
    with private_broker(tmp_path, hubs=["hub"], nodes=["pi"]) as broker, mqtt_proxy(broker.port, 1, noted) as proxy:
        link = MqttLink(replace(broker.settings("pi"), port=proxy.add("pi").port), "pi")
        link.connect()
        yield Site(link, proxy, noted)
        link.close()


def test_messages_pass_in_order_both_ways(site: Site) -> None:
    said = [b"%d" % number for number in range(100)] + [bytes(100_000)]
    site.say(*said)
    assert site.hears(101) == said
    assert site.noted.up[:101] == site.noted.down[:101] == said
    assert not site.noted.hit


def test_a_dropped_message_is_confirmed_and_not_delivered(site: Site) -> None:
    site.disturb(Disturbance.DROP)
    site.say(b"lost")
    site.link.flush(LONG_S)  # returns once the marker behind it is confirmed, be it by the proxy
    site.calm()
    site.say(b"kept")
    assert site.hears(1) == [b"kept"]
    assert site.noted.hit[0] == (Disturbance.DROP, b"lost")


def test_one_message_of_those_that_are_meant_is_lost(site: Site) -> None:
    site.proxy.lanes["pi"].open_window(one_loss("back", LONG_S))
    site.say(b"other")
    assert site.hears(1) == [b"other"], "its topic ends in another way"
    site.proxy.lanes["pi"].open_window(one_loss("there", LONG_S))
    site.say(b"lost", b"kept")
    assert site.hears(1) == [b"kept"]
    assert site.noted.hit == [(Disturbance.DROP, b"lost")]


def test_a_doubled_message_comes_again(site: Site) -> None:
    site.disturb(Disturbance.DOUBLE)
    site.say(b"a")
    assert site.hears(4) == [b"a"] * 4, "twice to the broker, and each of them twice back"


def test_a_reordered_message_comes_behind_the_next_or_after_a_while(site: Site) -> None:
    site.disturb(Disturbance.REORDER)
    site.say(b"a", b"b")
    assert sorted(site.hears(2)) == [b"a", b"b"]
    assert site.noted.up[:2] == [b"b", b"a"]
    site.say(b"alone")
    assert site.hears(1) == [b"alone"]


def test_delayed_messages_stay_in_order(site: Site) -> None:
    site.disturb(Disturbance.DELAY, delay_s=0.05)
    said = [b"%d" % number for number in range(20)]
    site.say(*said)
    assert site.hears(20) == said


def test_nothing_passes_a_cut_and_then_all_does(site: Site) -> None:
    site.proxy.cut("pi", 0.5, closes=False)
    began = time.monotonic()
    site.say(b"a", b"b")
    assert site.hears(2) == [b"a", b"b"]
    assert time.monotonic() - began >= 0.5


def test_a_cut_that_closes_ends_the_connection_and_another_can_be_made(site: Site) -> None:
    site.proxy.cut("pi", 0.3, closes=True)
    site.say(b"lost")
    deadline = time.monotonic() + LONG_S
    while site.heard.empty() and time.monotonic() < deadline:
        site.say(b"again")
        time.sleep(0.05)
    assert site.hears(1) == [b"again"]
    assert b"lost" not in site.noted.up
