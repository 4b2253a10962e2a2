"""MQTT packets as they come from the broker, cut out of its stream; publishes are acknowledged or dropped before paho sees them.

paho takes some 50 µs for a message that it delivers. Whoever sends thousands a second would keep its thread from the
others' messages. So a gate is asked about each publish by its topic and size, and what it refuses ends here.
"""

from __future__ import annotations

from collections.abc import Callable

_PUBLISH = 3  # upper half of the first byte
_ACKNOWLEDGEMENT = 4
_TOO_LARGE, _QUOTA_EXCEEDED = (
    b"\x95",
    b"\x97",
)  # mosquitto's PUBACKs have the former, which MQTT 5 lacks there and paho hangs up over
_QOS = 0b0110
_DUPLICATE_OR_QOS = 0b1110
_PUBACK = b"\x40\x02"
_LONGEST = 4  # bytes of a packet's length

Gate = Callable[[bytes, int], bool]


class MalformedStream(Exception):
    """The other side does not speak MQTT."""


class PacketReader:
    """Takes in what the broker sends, in pieces of any size."""

    def __init__(self, gate: Gate) -> None:
        """`gate` is asked with topic and bytes of each publish; one that it refuses is acknowledged and dropped."""
        self.refused = 0  # publishes that were dropped
        self._gate = gate
        self._rest = b""

    def feed(self, received: bytes) -> tuple[bytes, bytes]:
        """The packets that are complete now and are to be delivered, and the PUBACKs that are owed.

        A publish is delivered at QoS 0, since its PUBACK is in the second half. Raises MalformedStream.
        """
        data = self._rest + received
        packets, acknowledgements = bytearray(), bytearray()
        start = 0
        while (bounds := _packet(data, start)) is not None:
            body, end = bounds
            first = data[start]
            if first >> 4 == _PUBLISH:
                topic_end = body + 2 + int.from_bytes(data[body : body + 2], "big")
                behind = topic_end + 2 if first & _QOS else topic_end
                if behind > end:
                    raise MalformedStream("a publish is shorter than its topic")
                acknowledgements += _PUBACK + data[topic_end:behind] if first & _QOS else b""
                if self._gate(data[body + 2 : topic_end], end - start):
                    packets.append(first & ~_DUPLICATE_OR_QOS)
                    packets += _length(end - body - (behind - topic_end))
                    packets += data[body:topic_end]
                    packets += data[behind:end]
                else:
                    self.refused += 1
            elif first >> 4 == _ACKNOWLEDGEMENT and data[body + 2 : body + 3] == _TOO_LARGE:
                packets += data[start : body + 2] + _QUOTA_EXCEEDED + data[body + 3 : end]
            else:
                packets += data[start:end]
            start = end
        self._rest = data[start:]
        return bytes(packets), bytes(acknowledgements)


def _packet(data: bytes, start: int) -> tuple[int, int] | None:
    """Where the body of the packet at `start` begins and ends; None while it is incomplete. Raises MalformedStream."""
    length = shift = 0
    for place in range(start + 1, min(len(data), start + 1 + _LONGEST)):
        length |= (data[place] & 0x7F) << shift
        shift += 7
        if data[place] < 0x80:
            end = place + 1 + length
            return (place + 1, end) if end <= len(data) else None
    if shift == 7 * _LONGEST:
        raise MalformedStream("a packet's length has no end")
    return None


def _length(value: int) -> bytes:
    encoded = bytearray()
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
