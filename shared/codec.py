"""Messages as bytes: a msgpack array [schema, kind, field, field, …], trailing fields at their defaults left out.

A frame is read field by field, and reading ends at the first one that its message does not allow. So a frame costs time in
proportion to its size at most, whatever stands in it: nothing is built that no message holds.
"""

from __future__ import annotations

from dataclasses import MISSING, astuple, fields
from typing import Any

import msgpack

from shared.errors import ProtocolError
from shared.limits import ID_BYTES, MAX_FRAME, MAX_PIECE, REST_BYTES
from shared.messages import AnyMessage, Close, Draft, Early, Fault, Fetch, Open, Opened, Piece, Verdict
from shared.sampling_parameters import Sampling

SCHEMA = 1
_OLDEST = max(1, SCHEMA - 1)  # the oldest schema that is read: a hub and its nodes are updated one after another
SESSION_BYTES = 16  # of a session's id

KINDS: dict[int, type[AnyMessage]] = {
    1: Open,
    2: Opened,
    3: Draft,
    4: Verdict,
    5: Early,
    6: Fault,
    7: Close,
    8: Fetch,
    9: Piece,
}
_OF_EVERY_SAMPLING = 4  # fields that are sent of a sampling without a grammar: older hubs know no others
_KIND_OF = {cls: kind for kind, cls in KINDS.items()}
_DEFAULTS: dict[type[AnyMessage], list[Any]] = {cls: [f.default for f in fields(cls)] for cls in KINDS.values()}
_SCALAR = {"max_array_len": 0, "max_map_len": 0, "max_ext_len": 0, "max_str_len": REST_BYTES, "max_bin_len": MAX_PIECE}


def largest_frame(ids: int) -> int:
    """Bytes that a message with at most `ids` token ids has at most."""
    return ID_BYTES * ids + REST_BYTES


def encode(message: AnyMessage) -> bytes:
    """The payload of `message`."""
    cls = type(message)
    values = [getattr(message, f.name) for f in fields(cls)]
    defaults = _DEFAULTS[cls]
    while values and defaults[len(values) - 1] is not MISSING and values[-1] == defaults[len(values) - 1]:
        values.pop()
    packed: bytes = msgpack.packb([SCHEMA, _KIND_OF[cls], *values], default=_plain)
    return packed


def decode(payload: bytes | bytearray, *kinds: type[AnyMessage]) -> AnyMessage:
    """The message in `payload`, which must be one of `kinds` (of none given, of any).

    Raises ProtocolError, saying what is wrong, for anything else.
    """
    if len(payload) > MAX_FRAME:
        raise ProtocolError(f"the payload has {len(payload)} bytes; at most {MAX_FRAME} are read")
    frame = _Frame(payload)
    cls: Any = frame.message_class()
    if kinds and cls not in kinds:
        raise ProtocolError(f"{cls.__name__} does not belong on this topic")
    count = frame.left
    defaults = _DEFAULTS[cls]
    if count > len(defaults):
        raise ProtocolError(f"{cls.__name__} has {len(defaults)} fields, not {count}")
    if MISSING in defaults[count:]:
        raise ProtocolError(f"{cls.__name__} lacks required fields")
    values = [frame.value(f"{cls.__name__}.{f.name}", f.metadata["items"]) for f in fields(cls)[:count]]
    frame.end()
    message: AnyMessage = cls(*values)
    return message


def encode_in(session: bytes, message: AnyMessage) -> bytes:
    """The payload of `message` on a topic of sessions: the session's id, 16 bytes, and then the frame."""
    return session + encode(message)


def split_session(payload: bytes | bytearray) -> tuple[bytes, bytes]:
    """The session's id and the frame of a payload on a topic of sessions. Raises ProtocolError for less than an id."""
    if len(payload) < SESSION_BYTES:
        raise ProtocolError(
            f"the payload has {len(payload)} bytes; it begins with a session's id, {SESSION_BYTES} bytes"
        )
    return bytes(payload[:SESSION_BYTES]), bytes(payload[SESSION_BYTES:])


def draft_round(payload: bytes | bytearray) -> int:
    """The round of a draft of any size, of which nothing else is read. Raises ProtocolError when it is none."""
    frame = _Frame(payload)
    if frame.message_class() is not Draft or not frame.left:
        raise ProtocolError("the payload is not a draft")
    return Draft(frame.value("Draft.round", 0), 0, 0).round


class _Frame:
    """A payload that is read from its beginning."""

    def __init__(self, payload: bytes | bytearray) -> None:
        self.left = 0  # fields that are to be read
        self._payload = payload
        self._unpacker = msgpack.Unpacker(max_buffer_size=max(1, len(payload)), strict_map_key=True, **_SCALAR)
        self._unpacker.feed(payload)

    def message_class(self) -> type[AnyMessage]:
        """What the frame says that it is: the first that is to be read."""
        self.left = self._array_length() if self._array_follows else 0
        if self.left < 2:
            raise ProtocolError("the payload is not an array [schema, kind, …]")
        schema, kind = self._scalar(), self._scalar()
        self.left -= 2
        if type(schema) is not int or not _OLDEST <= schema <= SCHEMA:
            raise ProtocolError(
                f"schema {_shown(schema)} is not spoken here; {_OLDEST} to {SCHEMA} are: update the older side"
            )
        cls = KINDS.get(kind) if type(kind) is int else None
        if cls is None:
            raise ProtocolError(f"there is no message kind {_shown(kind)}")
        return cls

    def value(self, name: str, items: int) -> Any:
        """The next field: an array of at most `items` numbers, or something that is no array."""
        self.left -= 1
        if not items or not self._array_follows:
            return self._scalar(name)
        count = self._array_length()
        if count > items:
            raise ProtocolError(f"{name}: must be a list of at most {items}, not {count}")
        values = []
        for _ in range(count):
            value = self._scalar(name)
            if type(value) not in (int, float):
                raise ProtocolError(f"{name}: must be a list of numbers")
            values.append(value)
        return values

    def end(self) -> None:
        """Raise ProtocolError when something stands behind the last field."""
        if self._unpacker.tell() != len(self._payload):
            raise ProtocolError("the payload is not msgpack: something stands behind the array")

    @property
    def _array_follows(self) -> bool:
        position = self._unpacker.tell()
        first = self._payload[position] if position < len(self._payload) else 0
        return 0x90 <= first <= 0x9F or first in (0xDC, 0xDD)

    def _array_length(self) -> int:
        try:
            length: int = self._unpacker.read_array_header()
        except Exception as error:
            raise ProtocolError(f"the payload is not msgpack: {_reason(error)}") from None
        return length

    def _scalar(self, name: str = "") -> Any:
        try:
            return self._unpacker.unpack()
        except Exception as error:  # msgpack raises ValueError, its own classes, and UnicodeDecodeError
            where = f"{name}: " if name else ""
            raise ProtocolError(f"{where}the payload is not msgpack that a message holds: {_reason(error)}") from None


def _reason(error: Exception) -> str:
    return str(error)[:100] or type(error).__name__


def _shown(value: Any) -> str:
    """A number, or the type of what is there instead: a peer's text has no place in a log."""
    return str(value) if type(value) is int else f"of type {type(value).__name__}"


def _plain(value: Sampling) -> Any:
    fields_of_it = list(astuple(value))
    return fields_of_it if value.grammar else fields_of_it[:_OF_EVERY_SAMPLING]
