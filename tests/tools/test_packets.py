"""A stream of MQTT 5 is cut into packets wherever its pieces end, and a PUBLISH is read as paho writes it."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.client import Client, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from tools.rig.packets import PacketSplitter, Publish, doubled, puback

topics = st.text(
    st.characters(codec="utf-8", exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=40
)


def packet(topic: str, payload: bytes, qos: int, mid: int, expiry: int | None) -> bytes:
    """A PUBLISH as paho's own client writes it."""
    properties = None
    if expiry is not None:
        properties = Properties(PacketTypes.PUBLISH)
        properties.MessageExpiryInterval = expiry
    client: Any = Client(CallbackAPIVersion.VERSION2, protocol=MQTTv5)
    written: list[bytes] = []
    client._packet_queue = lambda _command, data, *_rest: written.append(bytes(data))
    client._sock = object()
    client._send_publish(mid, topic.encode(), payload, qos, properties=properties)
    client._sock = None
    return written[0]


publishes = st.tuples(
    topics, st.binary(max_size=300), st.sampled_from([0, 1]), st.integers(1, 65535), st.none() | st.integers(0, 1000)
)


@given(sent=st.lists(publishes, max_size=6), data=st.data())
def test_packets_come_out_whole_wherever_the_stream_is_split(
    sent: list[tuple[str, bytes, int, int, int | None]], data: st.DataObject
) -> None:
    packets = [packet(*each) for each in sent]
    stream = b"".join(packets)
    edges = sorted({0, len(stream), *data.draw(st.lists(st.integers(0, len(stream)), max_size=20))})
    splitter = PacketSplitter()
    out = [each for begin, end in pairwise(edges) for each in splitter.feed(stream[begin:end])]
    assert out == packets
    for (topic, payload, qos, mid, _), each in zip(sent, out, strict=True):
        assert Publish.read(each) == Publish(topic, payload, mid if qos else None)


def test_a_large_packet_comes_out_byte_by_byte() -> None:
    large = packet("a/b", bytes(20_000), 1, 7, None)
    splitter = PacketSplitter()
    out = [each for at in range(len(large)) for each in splitter.feed(large[at : at + 1])]
    assert out == [large]


def test_bytes_that_are_no_mqtt_are_refused() -> None:
    with pytest.raises(ValueError, match="four bytes"):
        PacketSplitter().feed(b"\x30\xff\xff\xff\xff\x01")


def test_other_packets_are_no_publish() -> None:
    assert Publish.read(puback(258)) is None
    assert puback(258) == b"\x40\x02\x01\x02"


def test_a_doubled_publish_says_so() -> None:
    once = packet("a", b"x", 1, 9, None)
    twice = doubled(once)
    assert twice[0] == once[0] | 0x08
    assert Publish.read(twice) == Publish.read(once)
