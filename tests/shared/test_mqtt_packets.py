"""The broker's stream: cut into packets wherever it breaks, acknowledged, and rid of what the gate refuses."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties, VariableByteIntegers

from shared.mqtt_packets import MalformedStream, OpenGate, PacketReader, Publish, Received, reply_wanted

PINGRESP = b"\xd0\x00"


def publish(topic: bytes, payload: bytes, mid: int = 0, *, retain: bool = False, duplicate: bool = False) -> bytes:
    """A PUBLISH at QoS 1, or at QoS 0 without a message id."""
    body = len(topic).to_bytes(2, "big") + topic + (mid.to_bytes(2, "big") if mid else b"") + b"\0" + payload
    length = bytearray()
    value = len(body)
    while True:
        value, low = divmod(value, 128)
        length.append(low | (0x80 if value else 0))
        if not value:
            break
    return bytes([0x30 | (8 if duplicate else 0) | (2 if mid else 0) | retain]) + bytes(length) + body


class Closed(OpenGate):
    """A gate for one topic, that notes what it is asked."""

    def __init__(self, refused: bytes = b"") -> None:
        self.asked: list[tuple[bytes, int]] = []
        self._refused = refused

    def admits(self, topic: bytes, size: int) -> bool:
        self.asked.append((topic, size))
        return topic != self._refused


def read(stream: bytes, cuts: list[int], refused: bytes = b"") -> Received:
    reader = PacketReader(Closed(refused))
    pieces = [reader.feed(stream[start:end]) for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    return Received(
        [publish for piece in pieces for publish in piece.publishes],
        b"".join(piece.acknowledgements for piece in pieces),
        b"".join(piece.rest for piece in pieces),
    )


STREAM = (
    publish(b"a/b", b"one", 7) + PINGRESP + publish(b"a/flood", b"x" * 300, 8) + publish(b"a/flood", b"", 0)
    + publish("a/\u00e9".encode(), b"y" * 20_000, 65_535, retain=True, duplicate=True) + publish(b"a/b", b"", 0)
)  # fmt: skip


@given(st.lists(st.integers(0, len(STREAM)), max_size=8).map(sorted))
def test_a_stream_may_break_anywhere(cuts: list[int]) -> None:
    received = read(STREAM, cuts, refused=b"a/flood")
    kept = Publish("a/\u00e9", b"y" * 20_000, retained=True)
    assert received.publishes == [Publish("a/b", b"one", retained=False), kept, Publish("a/b", b"", retained=False)]
    assert received.acknowledgements == b"\x40\x02\x00\x07\x40\x02\x00\x08\x40\x02\xff\xff"
    assert received.rest == PINGRESP


@given(st.binary(max_size=300), st.integers(0, 65_535), st.lists(st.tuples(st.text(), st.text()), max_size=4))
def test_a_publish_is_what_paho_packs(payload: bytes, expiry_s: int, user: list[tuple[str, str]]) -> None:
    properties = Properties(PacketTypes.PUBLISH)
    properties.MessageExpiryInterval = expiry_s
    properties.UserProperty = [(name.replace("\0", ""), value.replace("\0", "")) for name, value in user] or [("", "")]
    packed = properties.pack()
    body = b"\0\3a/b" + b"\0\7" + packed + payload
    length = bytes(VariableByteIntegers.encode(len(body)))
    came = read(b"\x32" + length + body, []).publishes
    assert came == [Publish("a/b", payload, retained=False, properties=came[0].properties)]
    assert reply_wanted(came[0].properties) == ("", b"")


@given(st.binary(max_size=40), st.integers(0, 65_535), st.text("abc/é", min_size=1), st.booleans())
def test_what_a_request_wants_for_a_reply_is_found(correlation: bytes, expiry_s: int, topic: str, named: bool) -> None:
    properties = Properties(PacketTypes.PUBLISH)
    properties.MessageExpiryInterval = expiry_s
    properties.UserProperty = [("a", "b"), ("", "")]
    properties.CorrelationData = correlation
    properties.PayloadFormatIndicator = 1
    if named:
        properties.ResponseTopic = topic
    packed = properties.pack()
    body = b"\0\3a/b" + packed + b"x"
    [came] = read(b"\x30" + bytes(VariableByteIntegers.encode(len(body))) + body, []).publishes
    assert reply_wanted(came.properties) == (topic if named else "", correlation)


@given(st.binary(max_size=60))
def test_broken_properties_want_no_reply_that_cannot_be(properties: bytes) -> None:
    topic, correlation = reply_wanted(properties)
    assert isinstance(topic, str)
    assert isinstance(correlation, bytes)


def test_a_puback_that_says_too_large_is_one_that_paho_takes() -> None:
    received = read(bytes.fromhex("4003000795") + bytes.fromhex("40020008"), [])
    assert received.rest == bytes.fromhex("4003000797") + bytes.fromhex("40020008")


def test_the_gate_sees_topic_and_size() -> None:
    gate = Closed()
    frame = publish(b"a/b", b"payload", 9)
    PacketReader(gate).feed(frame + PINGRESP)
    assert gate.asked == [(b"a/b", len(frame))]


@pytest.mark.parametrize(
    "stream",
    [
        b"\x30\xff\xff\xff\xff\x01",  # a length without end
        b"\x32\x03\x00\x09a",  # shorter than its topic
        b"\x32\x04\x00\x02ab",  # without a message id
        b"\x30\x04\x00\x02ab",  # without properties
        b"\x30\x05\x00\x02ab\x05" + PINGRESP * 3,  # shorter than its properties
        b"\x30\x05\x00\x02\xff\xfe\x00",  # a topic that is no UTF-8
    ],
)
def test_what_is_no_mqtt_is_refused(stream: bytes) -> None:
    with pytest.raises(MalformedStream):
        read(stream, [])
