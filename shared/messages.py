"""The messages of the protocol; docs/protocol.md says when each is sent, shared/codec.py how it looks as bytes."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from shared.fields import (
    MAX_POSITION,
    Message,
    checked,
    checked_ids,
    flag,
    integer,
    integers,
    member,
    number,
    octets,
    octets_up_to,
    optional,
    text,
)
from shared.limits import MAX_APPEND, MAX_DRAFT, MAX_PACKED_GRAMMAR, MAX_PIECE
from shared.sampling_parameters import Sampling

MAX_ROUND = 2**32 - 1
MAX_MICROSECONDS = 2**32 - 1
MAX_FILE = 2**40  # bytes of a file
MAX_SURPRISAL = 65_535  # thousandths of a nat
MAX_DETAIL = 300  # characters of a fault's sentence
SHA256_BYTES = 32
DIGEST_BYTES = 16  # of a piece's BLAKE2b digest


class Finish(IntEnum):
    """Why an answer ended."""

    NO = 0  # it goes on
    END = 1  # the target wrote an end-of-turn id
    LENGTH = 2  # the context is full


class FaultCode(IntEnum):
    """What went wrong, and so what the node does next."""

    BAD_REQUEST = 1  # the message is not allowed: a bug in the sender, re-opening will not help
    OUT_OF_SYNC = 2  # base or digest disagree: re-open
    UNKNOWN_SESSION = 3  # never opened, evicted, or the hub restarted: re-open, preferring the same hub
    BUSY = 4  # no room now: come back after `retry_after_ms`
    UNKNOWN_PAIR = 5  # the hub does not serve that pair
    WRONG_TOKENIZER = 6  # the pair's tokenizer is another one here
    TOO_LONG = 7  # the ids do not fit the context
    UNKNOWN_FILE = 8  # the hub does not offer that file, or not so much of it: look at what it offers
    MOVED = 9  # the hub is about to end: re-open with another one


def _sampling(value: Any) -> Sampling:
    if isinstance(value, Sampling):
        return value
    if type(value) is not list or len(value) not in {4, 6}:
        raise ValueError("must be [temperature, top_k, top_p, seed], and grammar, grammar_from where there is one")
    return Sampling(*value)


@dataclass(frozen=True, slots=True)
class Open(Message):
    """Node → hub: open a session. Opening the same session again is answered alike."""

    session: bytes = checked(octets(16))  # 128 random bits, never reused
    pair: str = checked(text(128))
    tokenizer: bytes = checked(octets(16))  # hash of the pair's tokenizer file
    wants_bits: bool = checked(flag, False)  # in `Opened`; to be asked only of a hub whose `info` has them


@dataclass(frozen=True, slots=True)
class Opened(Message):
    """Hub → node: the session is open; these are its limits and the pair's generation defaults."""

    session: bytes = checked(octets(16))
    target: str = checked(text(256))  # the target and its weight format: the text depends on them
    context: int = checked(integer(1, MAX_POSITION))  # ids that a session can hold
    max_draft: int = checked(integer(1, MAX_DRAFT))
    end_ids: tuple[int, ...] = checked_ids(32)  # ids that end a turn
    temperature: float = checked(number(0, 100))
    top_k: int = checked(integer(0, 2**20))
    top_p: float = checked(number(0, 1))
    bits: str = checked(text(256), "")  # what the bits of a text's logits depend on, where the node wants it


@dataclass(frozen=True, slots=True)
class Draft(Message):
    """Node → hub: one round."""

    round: int = checked(integer(1, MAX_ROUND))
    base: int = checked(integer(0, MAX_POSITION))  # ids that the node holds as committed
    digest: int = checked(integer(0, 2**64 - 1))  # of ids [0, base)
    tokens: tuple[int, ...] = checked_ids(MAX_DRAFT, ())  # drafted ids behind `append`
    until: int = checked(integer(0, MAX_POSITION), 0)  # the hub may decode alone up to this length
    append: tuple[int, ...] = checked_ids(MAX_APPEND, ())  # ids that need no verification
    cut: bool = checked(flag, False)  # what the hub holds past base is void
    sampling: Sampling | None = checked(optional(_sampling), None, items=6)  # with the `append` that starts an answer
    grammar: bytes = checked(octets_up_to(MAX_PACKED_GRAMMAR), b"")  # the packed text of the one that `sampling` names
    wants_surprisal: bool = checked(flag, False)  # of the answer's ids; with `sampling`, to a hub whose `info` has it


@dataclass(frozen=True, slots=True)
class Verdict(Message):
    """Hub → node: from `base` on, `accepted` drafted tokens and then `ids` of the target's own are committed."""

    round: int = checked(integer(1, MAX_ROUND))
    base: int = checked(integer(0, MAX_POSITION))
    accepted: int = checked(integer(0, MAX_DRAFT), 0)
    ids: tuple[int, ...] = checked_ids(MAX_APPEND, ())
    finish: Finish = checked(member(Finish), Finish.NO)
    forward_us: int = checked(integer(0, MAX_MICROSECONDS), 0)  # the forward that this verdict came from
    queued_us: int = checked(integer(0, MAX_MICROSECONDS), 0)  # from the draft's arrival to that forward's start
    advised: int | None = checked(optional(integer(0, MAX_DRAFT)), None)  # block length that the hub would like next
    # Of each id that is committed here -ln p by the target, in thousandths of a nat, where the node wants it.
    surprisal: tuple[int, ...] = checked(integers(MAX_APPEND, MAX_SURPRISAL, "surprisals"), (), items=MAX_APPEND)


@dataclass(frozen=True, slots=True)
class Early(Message):
    """Hub → node: what an early exit expects the verdict to be. It commits nothing."""

    round: int = checked(integer(1, MAX_ROUND))
    base: int = checked(integer(0, MAX_POSITION))
    accepted: int = checked(integer(0, MAX_DRAFT), 0)
    ids: tuple[int, ...] = checked_ids(MAX_DRAFT + 1, ())


@dataclass(frozen=True, slots=True)
class Fault(Message):
    """Hub → node: why a message was not carried out. `session` is set where the payload does not begin with it.

    In answer to a `Fetch` it is the beginning of the file's hash.
    """

    code: FaultCode = checked(member(FaultCode))
    detail: str = checked(text(MAX_DETAIL), "")
    retry_after_ms: int = checked(integer(0, 3_600_000), 0)
    round: int = checked(integer(0, MAX_ROUND), 0)
    session: bytes | None = checked(optional(octets(16)), None)


@dataclass(frozen=True, slots=True)
class Close(Message):
    """Node → hub: the session is over; its pages are free."""


@dataclass(frozen=True, slots=True)
class Fetch(Message):
    """Node → hub: send these bytes of a file that the hub offers. What is at an offset never changes: files go by their hash."""

    file: bytes = checked(octets(SHA256_BYTES))  # SHA-256 of the whole file
    offset: int = checked(integer(0, MAX_FILE))
    length: int = checked(integer(1, MAX_PIECE))


@dataclass(frozen=True, slots=True)
class Piece(Message):
    """Hub → node: bytes of a file, as they were asked for."""

    file: bytes = checked(octets(SHA256_BYTES))
    offset: int = checked(integer(0, MAX_FILE))
    digest: bytes = checked(octets(DIGEST_BYTES))  # BLAKE2b of `data`: what a way damages is found at once
    data: bytes = checked(octets_up_to(MAX_PIECE))


AnyMessage = Open | Opened | Draft | Verdict | Early | Fault | Close | Fetch | Piece
