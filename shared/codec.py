"""Messages as bytes: a msgpack array [schema, kind, field, field, …], trailing fields at their defaults left out."""

from __future__ import annotations

from dataclasses import MISSING, astuple, fields
from typing import Any

import msgpack

from shared.errors import ProtocolError
from shared.messages import AnyMessage, Close, Draft, Early, Fault, Open, Opened, Verdict

SCHEMA = 1
_OLDEST = max(1, SCHEMA - 1)  # the oldest schema that is read: a hub and its nodes are updated one after another
MAX_FRAME = 1 << 20  # bytes of one payload

KINDS: dict[int, type[AnyMessage]] = {1: Open, 2: Opened, 3: Draft, 4: Verdict, 5: Early, 6: Fault, 7: Close}
_KIND_OF = {cls: kind for kind, cls in KINDS.items()}
_DEFAULTS: dict[type[AnyMessage], list[Any]] = {cls: [f.default for f in fields(cls)] for cls in KINDS.values()}


def encode(message: AnyMessage) -> bytes:
    """The payload of `message`."""
    cls = type(message)
    values = [getattr(message, f.name) for f in fields(cls)]
    defaults = _DEFAULTS[cls]
    while values and defaults[len(values) - 1] is not MISSING and values[-1] == defaults[len(values) - 1]:
        values.pop()
    packed: bytes = msgpack.packb([SCHEMA, _KIND_OF[cls], *values], default=_plain)
    return packed


def decode(payload: bytes | bytearray) -> AnyMessage:
    """The message in `payload`. Raises ProtocolError, saying what is wrong, for anything but a valid message."""
    if len(payload) > MAX_FRAME:
        raise ProtocolError(f"the payload has {len(payload)} bytes; at most {MAX_FRAME} are read")
    try:
        frame = msgpack.unpackb(payload, use_list=True, strict_map_key=True)
    except Exception as error:  # msgpack raises ValueError, its own classes, and UnicodeDecodeError
        raise ProtocolError(f"the payload is not msgpack: {error}") from None
    if type(frame) is not list or len(frame) < 2:
        raise ProtocolError("the payload is not an array [schema, kind, …]")
    schema, kind, *values = frame
    if type(schema) is not int or not _OLDEST <= schema <= SCHEMA:
        raise ProtocolError(
            f"schema {_shown(schema)} is not spoken here; {_OLDEST} to {SCHEMA} are: update the older side"
        )
    cls = KINDS.get(kind) if type(kind) is int else None
    if cls is None:
        raise ProtocolError(f"there is no message kind {_shown(kind)}")
    defaults = _DEFAULTS[cls]
    if len(values) > len(defaults):
        raise ProtocolError(f"{cls.__name__} has {len(defaults)} fields, not {len(values)}")
    if MISSING in defaults[len(values) :]:
        raise ProtocolError(f"{cls.__name__} lacks required fields")
    return cls(*values)


def _shown(value: Any) -> str:
    """A number, or the type of what is there instead: a peer's text has no place in a log."""
    return str(value) if type(value) is int else f"of type {type(value).__name__}"


def _plain(value: Any) -> Any:
    return list(astuple(value))
