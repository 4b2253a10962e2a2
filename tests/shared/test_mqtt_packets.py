"""The broker's stream: cut into packets wherever it breaks, acknowledged, and rid of what the gate refuses."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt import _packet as paho_packets  # what reads the packets afterwards
from paho.mqtt.client import MQTTv5

from shared.mqtt_packets import MalformedStream, PacketReader

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


def read(stream: bytes, cuts: list[int], refused: bytes = b"") -> tuple[bytes, bytes]:
    reader = PacketReader(lambda topic, _: topic != refused)
    packets = acknowledgements = b""
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        some, owed = reader.feed(stream[start:end])
        packets += some
        acknowledgements += owed
    return packets, acknowledgements


STREAM = (
    publish(b"a/b", b"one", 7) + PINGRESP + publish(b"a/flood", b"x" * 300, 8) + publish(b"a/flood", b"", 0)
    + publish(b"a/b", b"y" * 20_000, 65_535, retain=True, duplicate=True) + publish(b"a/b", b"", 0)
)  # fmt: skip
DELIVERED = (
    publish(b"a/b", b"one") + PINGRESP + publish(b"a/b", b"y" * 20_000, retain=True) + publish(b"a/b", b"")
)  # fmt: skip


@given(st.lists(st.integers(0, len(STREAM)), max_size=8).map(sorted))
def test_a_stream_may_break_anywhere(cuts: list[int]) -> None:
    packets, acknowledgements = read(STREAM, cuts, refused=b"a/flood")
    assert packets == DELIVERED
    assert acknowledgements == b"\x40\x02\x00\x07\x40\x02\x00\x08\x40\x02\xff\xff"


def test_what_is_delivered_is_what_paho_reads() -> None:
    packet, _ = read(publish(b"a/b", b"payload", 9, retain=True), [])
    result = paho_packets.decode_publish(packet[0], bytearray(packet[2:]), MQTTv5)
    assert (result.topic, result.payload, result.qos, result.retain) == (b"a/b", b"payload", 0, True)


def test_a_puback_that_says_too_large_is_one_that_paho_takes() -> None:
    packets, _ = read(bytes.fromhex("4003000795") + bytes.fromhex("40020008"), [])
    assert packets == bytes.fromhex("4003000797") + bytes.fromhex("40020008")


def test_the_gate_sees_topic_and_size() -> None:
    seen: list[tuple[bytes, int]] = []

    def gate(topic: bytes, size: int) -> bool:
        seen.append((topic, size))
        return True

    frame = publish(b"a/b", b"payload", 9)
    PacketReader(gate).feed(frame + PINGRESP)
    assert seen == [(b"a/b", len(frame))]


@pytest.mark.parametrize("stream", [b"\x30\xff\xff\xff\xff\x01", b"\x32\x03\x00\x09a", b"\x32\x04\x00\x02ab"])
def test_what_is_no_mqtt_is_refused(stream: bytes) -> None:
    with pytest.raises(MalformedStream):
        read(stream, [])
