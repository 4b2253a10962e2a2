"""Bounded fields for wire messages: every field of a message says what it may hold, and is checked when it is made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING, field, fields
from enum import IntEnum
from typing import Any

from shared.errors import ProtocolError

MAX_ID = 2**31 - 1
MAX_POSITION = 2**24
Check = Callable[[Any], Any]
_CHECKS: dict[type, list[tuple[str, Check]]] = {}


def checked(check: Check, default: Any = MISSING, items: int = 0) -> Any:
    """A dataclass field whose value `check` accepts, returning it (or raising ValueError).

    On the wire an array stands only in a field with `items`: so many numbers at most.
    """
    return field(default=default, metadata={"check": check, "items": items})


def checked_ids(most: int, default: Any = MISSING) -> Any:
    """A dataclass field that holds at most `most` token ids as a tuple."""
    return checked(token_ids(most), default, items=most)


class Message:
    """Base of the wire messages: frozen dataclasses whose fields are all made by `checked`."""

    __slots__ = ()

    def __post_init__(self) -> None:
        cls: Any = type(self)
        checks = _CHECKS.get(cls) or _CHECKS.setdefault(cls, [(f.name, f.metadata["check"]) for f in fields(cls)])
        for name, check in checks:
            try:
                object.__setattr__(self, name, check(getattr(self, name)))
            except ValueError as error:
                raise ProtocolError(f"{type(self).__name__}.{name}: {error}") from None


def integer(low: int, high: int) -> Check:
    """An int in low..high; no bool."""

    def check(value: Any) -> int:
        if type(value) is not int or not low <= value <= high:
            raise ValueError(f"must be a whole number from {low} to {high}")
        return value

    return check


def number(low: float, high: float) -> Check:
    """A finite number in low..high, given back as a float."""

    def check(value: Any) -> float:
        if type(value) not in (int, float) or not low <= value <= high:  # NaN is no number that is
            raise ValueError(f"must be a number from {low} to {high}")
        return float(value)

    return check


def flag(value: Any) -> bool:
    """True or false."""
    if type(value) is not bool:
        raise ValueError("must be true or false")
    return value


def text(longest: int) -> Check:
    """A string of at most `longest` characters."""

    def check(value: Any) -> str:
        if type(value) is not str or len(value) > longest:
            raise ValueError(f"must be text of at most {longest} characters")
        return value

    return check


def octets(length: int) -> Check:
    """Exactly `length` bytes."""

    def check(value: Any) -> bytes:
        if type(value) is not bytes or len(value) != length:
            raise ValueError(f"must be {length} bytes")
        return value

    return check


def octets_up_to(longest: int) -> Check:
    """At most `longest` bytes."""

    def check(value: Any) -> bytes:
        if type(value) is not bytes or len(value) > longest:
            raise ValueError(f"must be at most {longest} bytes")
        return value

    return check


def token_ids(most: int) -> Check:
    """At most `most` token ids, given back as a tuple."""
    return integers(most, MAX_ID, "token ids")


def integers(most: int, highest: int, what: str) -> Check:
    """At most `most` ints in 0..highest, given back as a tuple; `what` they are, for a person."""

    def check(value: Any) -> tuple[int, ...]:
        if type(value) not in (list, tuple) or len(value) > most:
            raise ValueError(f"must be a list of at most {most} {what}")
        if not all(type(v) is int and 0 <= v <= highest for v in value):
            raise ValueError(f"{what} must be whole numbers from 0 to {highest}")
        return tuple(value)

    return check


def member(enum: type[IntEnum]) -> Check:
    """A member of `enum`, or its number."""

    def check(value: Any) -> IntEnum:
        if type(value) not in (int, enum):
            raise ValueError(f"must be a {enum.__name__} number")
        return enum(value)

    return check


def optional(check: Check) -> Check:
    """None, or what `check` accepts."""
    return lambda value: None if value is None else check(value)
