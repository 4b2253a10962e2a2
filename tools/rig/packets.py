"""MQTT 5 packets in a stream of bytes: where each ends, and what a PUBLISH says."""

from __future__ import annotations

from dataclasses import dataclass

_PUBLISH = 3
_DUP = 0x08
_LONGEST_LENGTH = 4  # bytes in which a packet says how long it is


class PacketSplitter:
    """Cuts the bytes of one direction of a connection into whole packets."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, piece: bytes) -> list[bytes]:
        """The packets that are whole with `piece`, in order. Raises ValueError where the bytes are no MQTT."""
        self._rest += piece
        packets = []
        while (size := _size(self._rest)) is not None and size <= len(self._rest):
            packets.append(bytes(self._rest[:size]))
            del self._rest[:size]
        return packets


@dataclass(frozen=True)
class Publish:
    """What a PUBLISH packet says. `mid` is its packet identifier; at QoS 0 there is none."""

    topic: str
    payload: bytes
    mid: int | None

    @classmethod
    def read(cls, packet: bytes) -> Publish | None:
        """The PUBLISH in a whole packet; None where it is a packet of another kind."""
        if packet[0] >> 4 != _PUBLISH:
            return None
        _, at = _varint(packet, 1)
        size = int.from_bytes(packet[at : at + 2], "big")
        at += 2
        topic = packet[at : at + size].decode()
        at += size
        mid = None
        if packet[0] & 0x06:
            mid, at = int.from_bytes(packet[at : at + 2], "big"), at + 2
        properties, at = _varint(packet, at)
        return cls(topic, packet[at + properties :], mid)


def doubled(packet: bytes) -> bytes:
    """A PUBLISH as its sender would repeat it."""
    return bytes([packet[0] | _DUP]) + packet[1:]


def changed(packet: bytes) -> bytes:
    """A packet whose last byte is another one: of a PUBLISH the last of what it says."""
    return packet[:-1] + bytes([packet[-1] ^ 0xFF])


def puback(mid: int) -> bytes:
    """The packet that confirms a PUBLISH at QoS 1."""
    return b"\x40\x02" + mid.to_bytes(2, "big")


def _size(data: bytes | bytearray) -> int | None:
    """The size in bytes of the packet that `data` begins with; None while its length is not all there."""
    ends = [i for i in range(1, min(len(data), 1 + _LONGEST_LENGTH)) if data[i] < 0x80]
    if ends:
        length, at = _varint(data, 1)
        return at + length
    if len(data) > _LONGEST_LENGTH:
        raise ValueError("a packet's length has more than four bytes")
    return None


def _varint(data: bytes | bytearray, at: int) -> tuple[int, int]:
    """The number at `at`, seven bits to a byte and the lowest first, and where it ends."""
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
