"""MQTT packets as they come from the broker, cut out of its stream; publishes are read here, and all else by paho.

paho takes some 150 µs for a publish that it reads and delivers, this module 6 µs for one that it drops. Whoever sends thousands
a second would keep the reading thread from the others' messages. So a gate is asked about each publish by its topic and size,
and what it refuses ends here.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple, Protocol

_PUBLISH = 3  # upper half of the first byte
_ACKNOWLEDGEMENT = 4
_TOO_LARGE, _QUOTA_EXCEEDED = (
    b"\x95",
    b"\x97",
)  # mosquitto's PUBACKs have the former, which MQTT 5 lacks there and paho hangs up over
_QOS = 0b0110
_RETAIN = 0b0001
_PUBACK = b"\x40\x02"
_LONGEST = 4  # bytes of a variable byte integer
_RESPONSE_TOPIC, _CORRELATION_DATA, _SUBSCRIPTION_ID, _USER_PROPERTY = 0x08, 0x09, 0x0B, 0x26  # of a publish
_FIXED = {0x01: 1, 0x02: 4, 0x23: 2}  # bytes of the properties that have a fixed length


class MalformedStream(Exception):
    """The other side does not speak MQTT."""


class Gate(Protocol):
    """What keeps a program's work from those who send without regard."""

    def admits(self, topic: bytes, size: int) -> bool:
        """Whether a publish of so many bytes is to be delivered."""

    def turn(self) -> AbstractContextManager[None]:
        """Entered before anything is read, as long as publishes are being dropped: it may wait for a better moment."""


class OpenGate:
    """A `Gate` that admits all."""

    def admits(self, _topic: bytes, _size: int) -> bool:
        """See `Gate`."""
        return True

    def turn(self) -> AbstractContextManager[None]:
        """See `Gate`."""
        return nullcontext()


class Publish(NamedTuple):
    """A message that the broker delivers."""

    topic: str
    payload: bytes
    retained: bool  # kept from before the subscription
    properties: bytes = b""  # of MQTT 5, as they came


class Received(NamedTuple):
    """What the broker's stream held."""

    publishes: list[Publish]
    acknowledgements: bytes  # the PUBACKs that are owed for them, and for those that were dropped
    rest: bytes  # all other packets, for paho


class PacketReader:
    """Takes in what the broker sends, in pieces of any size."""

    def __init__(self, gate: Gate) -> None:
        """A publish that `gate` does not admit is acknowledged and dropped."""
        self.refused = 0  # publishes that were dropped
        self._gate = gate
        self._rest = b""

    def feed(self, received: bytes) -> Received:
        """The packets that are complete now. Raises MalformedStream."""
        data = self._rest + received
        publishes, acknowledgements, rest = [], bytearray(), bytearray()
        start = 0
        while (bounds := _packet(data, start)) is not None:
            body, end = bounds
            first = data[start]
            if first >> 4 == _PUBLISH:
                topic_end = body + 2 + int.from_bytes(data[body : body + 2], "big")
                behind = topic_end + 2 if first & _QOS else topic_end
                if behind >= end:
                    raise MalformedStream("a publish is shorter than its topic")
                acknowledgements += _PUBACK + data[topic_end:behind] if first & _QOS else b""
                topic = data[body + 2 : topic_end]
                if self._gate.admits(topic, end - start):
                    properties = _properties(data, behind, end)
                    payload = data[properties.stop : end]
                    publishes.append(Publish(_text(topic), payload, bool(first & _RETAIN), data[properties]))
                else:
                    self.refused += 1
            elif first >> 4 == _ACKNOWLEDGEMENT and data[body + 2 : body + 3] == _TOO_LARGE:
                rest += data[start : body + 2] + _QUOTA_EXCEEDED + data[body + 3 : end]
            else:
                rest += data[start:end]
            start = end
        self._rest = data[start:]
        return Received(publishes, bytes(acknowledgements), bytes(rest))


def _packet(data: bytes, start: int) -> tuple[int, int] | None:
    """Where the body of the packet at `start` begins and ends; None while it is incomplete. Raises MalformedStream."""
    if (length := _variable(data, start + 1)) is None:
        return None
    value, body = length
    return (body, body + value) if body + value <= len(data) else None


def reply_wanted(properties: bytes) -> tuple[str, bytes]:
    """The response topic and the correlation data among a publish's properties; nothing for what is not there, or broken."""
    topic, correlation, at = "", b"", 0
    try:
        while at < len(properties):
            kind, at = properties[at], at + 1
            if kind in _FIXED:
                at += _FIXED[kind]
            elif kind == _SUBSCRIPTION_ID:
                at = (_variable(properties, at) or (0, len(properties)))[1]
            else:
                for _ in range(2 if kind == _USER_PROPERTY else 1):
                    value = properties[at + 2 : at + 2 + int.from_bytes(properties[at : at + 2], "big")]
                    at += 2 + len(value)
                topic = value.decode() if kind == _RESPONSE_TOPIC else topic
                correlation = value if kind == _CORRELATION_DATA else correlation
    except (MalformedStream, UnicodeDecodeError):
        return "", b""
    return topic, correlation


def _properties(data: bytes, start: int, end: int) -> slice:
    """Where a publish's properties are; they begin at `start` with their length. Raises MalformedStream."""
    length = _variable(data, start)
    if length is None or length[1] + length[0] > end:
        raise MalformedStream("a publish is shorter than its properties")
    return slice(length[1], length[1] + length[0])


def _variable(data: bytes, start: int) -> tuple[int, int] | None:
    """The variable byte integer at `start` and where it ends; None while it is incomplete. Raises MalformedStream."""
    value = shift = 0
    for place in range(start, min(len(data), start + _LONGEST)):
        value |= (data[place] & 0x7F) << shift
        shift += 7
        if data[place] < 0x80:
            return value, place + 1
    if shift == 7 * _LONGEST:
        raise MalformedStream("a length has no end")
    return None


def _text(topic: bytes) -> str:
    try:
        return topic.decode()
    except UnicodeDecodeError:
        raise MalformedStream("a topic is not UTF-8") from None
