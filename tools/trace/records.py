"""A trace as it was read: whose it is, and its records in their order. `shared/trace_file.py` says what each tells."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import msgpack

from shared.trace_file import MAGIC, MOST_BYTES, Event, Head

_MOST_ROWS = 100_000  # of a forward
_LONGEST = 1024  # bytes of a text


class Drafted(NamedTuple):
    """A piece of drafting."""

    session: bytes
    began: int
    ended: int
    tokens: int


class Sent(NamedTuple):
    """A draft left the node."""

    session: bytes
    round: int
    base: int
    began: int
    ended: int
    tokens: int
    appended: int


class Heard(NamedTuple):
    """A message of the hub has come to the node."""

    session: bytes
    message: str
    round: int
    base: int
    came: int
    taken: int


class Committed(NamedTuple):
    """The node has done all that follows from a verdict."""

    session: bytes
    round: int
    base: int
    ended: int
    ids: int


class Received(NamedTuple):
    """A draft has come to the hub."""

    session: bytes
    round: int
    came: int
    taken: int
    tokens: int


class Planned(NamedTuple):
    """A forward was planned."""

    began: int
    ended: int
    rows: int


class Row(NamedTuple):
    """A session's part of a forward."""

    session: bytes
    round: int
    ids: int
    wanted: int


class Forward(NamedTuple):
    """A forward ran, or failed."""

    began: int
    ended: int
    rows: tuple[Row, ...]


class Published(NamedTuple):
    """A message left the hub."""

    session: bytes
    message: str
    round: int
    base: int
    began: int
    ended: int
    ids: int


Record: TypeAlias = Drafted | Sent | Heard | Committed | Received | Planned | Forward | Published

FORMS: dict[Event, type[Any]] = {
    Event.DRAFTED: Drafted,
    Event.SENT: Sent,
    Event.HEARD: Heard,
    Event.COMMITTED: Committed,
    Event.RECEIVED: Received,
    Event.PLANNED: Planned,
    Event.FORWARD: Forward,
    Event.PUBLISHED: Published,
}
_TYPES = {"bytes": bytes, "str": str, "int": int, "tuple[Row, ...]": list}


@dataclass(frozen=True)
class Trace:
    """One file."""

    path: Path
    head: Head
    records: tuple[Record, ...]
    cut: bool  # whether it ends in the middle of a record, as that of a program that was killed may


def read(path: Path) -> Trace:
    """The trace in a file, up to where it was cut. Raises RuntimeError, with a sentence, for a file that is no trace or is damaged."""
    try:
        size = path.stat().st_size
        if not path.is_file() or size > MOST_BYTES:
            raise RuntimeError(f"{path} is no trace: it is no regular file, or has more than {MOST_BYTES} bytes")
        content = path.read_bytes()
    except OSError as error:
        raise RuntimeError(f"cannot read the trace {path}: {error.strerror}") from None
    if not content.startswith(MAGIC):
        raise RuntimeError(f"{path} is no trace: it does not begin with {MAGIC.decode().strip()!r}")
    values = msgpack.Unpacker(
        max_buffer_size=MOST_BYTES, max_array_len=_MOST_ROWS, max_map_len=len(MAGIC), max_str_len=_LONGEST
    )
    values.feed(memoryview(content)[len(MAGIC) :])
    try:
        head, end = _head(next(values, None)), values.tell()
        records: list[Record] = []
        for value in values:
            records.append(_record(value))
            end = values.tell()
    except (ValueError, msgpack.UnpackException) as error:
        at = len(MAGIC) + values.tell()
        raise RuntimeError(
            f"the trace {path} is damaged before its byte {at}: {error or type(error).__name__}"
        ) from None
    return Trace(path, head, tuple(records), cut=len(MAGIC) + end < len(content))


def _head(value: Any) -> Head:
    names = Head.__dataclass_fields__
    if not isinstance(value, dict) or value.keys() != names.keys():
        raise ValueError("it has no head")
    if any(type(value[name]) is not _TYPES[str(field.type)] for name, field in names.items()):
        raise ValueError("its head is none")
    if value["side"] not in {"node", "hub"}:
        raise ValueError("it is of neither node nor hub")
    return Head(**value)


def _record(value: Any) -> Record:
    if type(value) is not list or not value or type(value[0]) is not int or value[0] not in FORMS:
        raise ValueError("there is no such record")
    form = FORMS[Event(value[0])]
    fields = _checked(form, value[1:])
    if form is Forward:
        fields[-1] = tuple(Row(*_checked(Row, row)) for row in fields[-1])
    record: Record = form(*fields)
    return record


def _checked(form: Any, fields: Any) -> list[Any]:
    kinds = form.__annotations__.values()
    if type(fields) is not list or [type(field) for field in fields] != [_TYPES[_name(kind)] for kind in kinds]:
        raise ValueError(f"a record {form.__name__} has other fields")
    return fields


def _name(kind: Any) -> str:
    return kind if isinstance(kind, str) else str(kind.__forward_arg__)


def of_kind(trace: Trace, form: type[Any]) -> Iterator[Any]:
    """The records of that form."""
    return (record for record in trace.records if type(record) is form)
