"""The wire format: golden bytes of every message, and what is refused."""

from __future__ import annotations

import contextlib
import random
import time
from dataclasses import fields
from hashlib import blake2b
from pathlib import Path

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.codec import KINDS, decode, draft_round, encode, encode_in, split_session
from shared.errors import ProtocolError
from shared.fields import MAX_ID
from shared.limits import MAX_APPEND, MAX_DRAFT, MAX_FRAME, MAX_PIECE
from shared.messages import (
    AnyMessage,
    Close,
    Draft,
    Early,
    Fault,
    FaultCode,
    Fetch,
    Finish,
    Open,
    Opened,
    Piece,
    Verdict,
)
from shared.sampling_parameters import Sampling
from tools.fuzz.frames import Frames

SESSION, TOKENIZER = bytes(range(16)), bytes(range(16, 32))

GOLDEN: list[tuple[AnyMessage, str]] = [
    (
        Open(SESSION, "home", TOKENIZER),
        "950101c410000102030405060708090a0b0c0d0e0fa4686f6d65c410101112131415161718191a1b1c1d1e1f",
    ),
    (
        Opened(SESSION, "home/float32", 1024, 16, (1,), 0.0, 0, 1.0),
        "9a0102c410000102030405060708090a0b0c0d0e0fac686f6d652f666c6f61743332cd0400109101"
        "cb000000000000000000cb3ff0000000000000",
    ),
    (
        Open(SESSION, "home", TOKENIZER, wants_bits=True),
        "960101c410000102030405060708090a0b0c0d0e0fa4686f6d65c410101112131415161718191a1b1c1d1e1fc3",
    ),
    (
        Opened(SESSION, "home/float32", 1024, 16, (1,), 0.0, 0, 1.0, "AVX512 · 2 threads"),
        "9b0102c410000102030405060708090a0b0c0d0e0fac686f6d652f666c6f61743332cd0400109101"
        "cb000000000000000000cb3ff0000000000000"
        "b341565835313220c2b720322074687265616473",
    ),
    (
        Draft(1, 0, 0, until=4, append=(3, 40, 4), sampling=Sampling(0.8, 40, 0.9, 2**63)),
        "9a0103010000900493032804c294cb3fe999999999999a28cb3feccccccccccccdcf8000000000000000",
    ),
    (
        Draft(
            1,
            0,
            0,
            until=4,
            append=(3, 40, 4),
            sampling=Sampling(0.8, 40, 0.9, 2**63, 0x0123456789ABCDEF, 3),
            grammar=b"\x78\x9c",
        ),
        "9b0103010000900493032804c296cb3fe999999999999a28cb3feccccccccccccdcf8000000000000000cf0123456789abcdef03c402789c",
    ),
    (
        Draft(1, 0, 0, until=4, append=(3, 40, 4), sampling=Sampling(), wants_surprisal=True),
        "9c0103010000900493032804c294cb000000000000000000cb3ff000000000000000c400c3",
    ),
    (Draft(7, 42, 0x0123456789ABCDEF, (5, 300, 2047)), "960103072acf0123456789abcdef9305cd012ccd07ff"),
    (Draft(8, 40, 1, cut=True), "990103082801900090c3"),
    (Verdict(7, 42, 2, (9,), Finish.NO, 9000, 350), "990104072a02910900cd2328cd015e"),
    (
        Verdict(7, 42, 2, (9,), Finish.NO, 9000, 350, surprisal=(0, 3, 1200)),
        "9b0104072a02910900cd2328cd015ec0930003cd04b0",
    ),
    (Verdict(9, 45, 0, (1,), Finish.END), "970104092d00910101"),
    (Early(7, 42, 3, (8,)), "960105072a039108"),
    (Fault(FaultCode.BUSY, "full", 2000, 7), "96010604a466756c6ccd07d007"),
    (Close(), "920107"),
    (
        Fetch(bytes(range(32)), 131_072, 65_536),
        "950108c420000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1fce00020000ce00010000",
    ),
    (
        Piece(bytes(range(32)), 131_072, blake2b(b"draft", digest_size=16).digest(), b"draft"),
        "960109c420000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1fce00020000c410fc92cf3c88182e641877ab0f68b230cfc4056472616674",
    ),
]
GOLDEN_IN_SESSION = "000102030405060708090a0b0c0d0e0f920107"


@pytest.mark.parametrize(("message", "golden"), GOLDEN, ids=lambda v: type(v).__name__)
def test_golden_bytes(message: AnyMessage, golden: str) -> None:
    assert encode(message).hex() == golden
    assert decode(bytes.fromhex(golden)) == message


def test_a_session_stands_in_front_of_its_frame() -> None:
    payload = encode_in(SESSION, Close())
    assert payload.hex() == GOLDEN_IN_SESSION
    assert split_session(payload) == (SESSION, encode(Close()))
    assert split_session(SESSION) == (SESSION, b"")
    with pytest.raises(ProtocolError, match="15 bytes"):
        split_session(SESSION[1:])


def test_the_golden_vectors_stand_in_the_documentation() -> None:
    text = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text()
    assert [
        golden for golden in (*(golden for _, golden in GOLDEN), GOLDEN_IN_SESSION) if f"`{golden}`" not in text
    ] == []


def test_every_kind_has_a_golden_vector() -> None:
    assert {type(message) for message, _ in GOLDEN} == set(KINDS.values())


messages = st.integers(0, 2**64 - 1).map(lambda seed: Frames(random.Random(seed), "home", TOKENIZER).message())


@given(messages)
def test_round_trip(message: AnyMessage) -> None:
    assert decode(encode(message)) == message


@given(st.binary(max_size=200))
def test_any_bytes_decode_or_are_refused(payload: bytes) -> None:
    try:
        message = decode(payload)
    except ProtocolError:
        return
    assert isinstance(message, tuple(KINDS.values()))


@given(messages, st.data())
def test_a_damaged_frame_is_decoded_or_refused(message: AnyMessage, data: st.DataObject) -> None:
    payload = bytearray(encode(message))
    payload[data.draw(st.integers(0, len(payload) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        decode(payload)
    except ProtocolError:
        return


@pytest.mark.parametrize(
    ("frame", "says"),
    [
        (b"", "not an array"),
        (b"\xc1", "not an array"),
        (msgpack.packb({}), "not an array"),
        (msgpack.packb([1]), "not an array"),
        (msgpack.packb([2, 7]), "schema 2"),
        (msgpack.packb([0, 7]), "schema 0"),
        (msgpack.packb([True, 7]), "schema of type bool"),
        (msgpack.packb([1, 99]), "no message kind 99"),
        (msgpack.packb([1, "draft"]), "no message kind"),
        (msgpack.packb([1, 3, 1]), "lacks required fields"),
        (msgpack.packb([1, 7, 1]), "0 fields, not 1"),
        (msgpack.packb([1, 3, 0, 0, 0]), "round"),
        (msgpack.packb([1, 3, 1, -1, 0]), "base"),
        (msgpack.packb([1, 3, 1, True, 0]), "base"),
        (msgpack.packb([1, 3, 1, 0, 0, [1] * (MAX_DRAFT + 1)]), "tokens"),
        (msgpack.packb([1, 3, 1, 0, 0, [-1]]), "tokens"),
        (msgpack.packb([1, 3, 1, 0, 0, [1.0]]), "tokens"),
        (msgpack.packb([1, 3, 1, 0, 0, [], 0, [1] * (MAX_APPEND + 1)]), "append"),
        (msgpack.packb([1, 3, 1, 0, 0, [], 0, [], 1]), "cut"),
        (msgpack.packb([1, 3, 1, 0, 0, [], 0, [], False, [1.0, 0, 1.0]]), "sampling"),
        (msgpack.packb([1, 3, 1, 0, 0, [], 0, [], False, [float("nan"), 0, 1.0, 0]]), "sampling"),
        (msgpack.packb([1, 4, 1, 0, 0, [], 9]), "finish"),
        (msgpack.packb([1, 1, b"short", "home", bytes(16)]), "session"),
        (bytes(MAX_FRAME + 1), "at most"),
        (msgpack.packb([1, 8, bytes(31), 0, 1]), "file"),
        (msgpack.packb([1, 8, bytes(32), -1, 1]), "offset"),
        (msgpack.packb([1, 8, bytes(32), 0, 0]), "length"),
        (msgpack.packb([1, 8, bytes(32), 0, MAX_PIECE + 1]), "length"),
        (msgpack.packb([1, 9, bytes(32), 0, bytes(15), b""]), "digest"),
        (msgpack.packb([1, 9, bytes(32), 0, bytes(16), bytes(MAX_PIECE + 1)]), "data"),
        (msgpack.packb([1, 3, 1, 0, 0, [[]]]), "tokens"),
        (msgpack.packb([1, 3, 1, 0, [1, 2]]), "digest"),
        (msgpack.packb([1, 3, {}, 0, 0]), "round"),
        (msgpack.packb([1, 3, msgpack.Timestamp(0), 0, 0]), "round"),
        (msgpack.packb([1, 6, 1, "x" * 2000]), "detail"),
        (msgpack.packb([1, 7]) + b"\x00", "behind the array"),
        (bytes.fromhex("930103ddffffffff"), "lacks"),
        (bytes.fromhex("ddffffffff0103"), "10 fields, not"),
    ],
)
def test_what_is_refused_and_how(frame: bytes, says: str) -> None:
    with pytest.raises(ProtocolError, match=says):
        decode(frame)


def test_a_draft_too_large_to_be_read_still_names_its_round() -> None:
    assert draft_round(msgpack.packb([1, 3, 77, 0, 0, [], 0, [1] * 200_000])) == 77
    for frame in (b"", msgpack.packb([1, 3]), msgpack.packb([1, 4, 77, 0]), msgpack.packb([1, 3, [77], 0, 0])):
        with pytest.raises(ProtocolError):
            draft_round(frame)


@pytest.mark.parametrize(
    "element",
    [b"\x90", b"\x91\xc0", b"\x91\x90", b"\x80", b"\x81\x00\x00", b"\xc0", b"\xc4\x00", b"\xca\0\0\0\0", b"\x01"],
)
@pytest.mark.parametrize(
    "head",
    [
        bytes.fromhex("930103dd000f4240"),
        bytes.fromhex("dd000f4240"),
        bytes.fromhex("9801030100009000dd0001ffff"),
        b"\x91" * 500,
    ],
)
def test_no_frame_costs_more_than_the_longest_prompt(head: bytes, element: bytes) -> None:
    longest = encode(Draft(1, 0, 0, append=(MAX_ID,) * MAX_APPEND))
    crafted = (head + element * MAX_FRAME)[:MAX_FRAME]
    seconds = {frame: min(_seconds_to_decode(frame) for _ in range(3)) for frame in (longest, crafted)}
    assert seconds[crafted] < 2 * seconds[longest]


def _seconds_to_decode(frame: bytes) -> float:
    began = time.process_time()
    with contextlib.suppress(ProtocolError):
        decode(frame)
    return time.process_time() - began


def test_a_field_out_of_bounds_cannot_even_be_made() -> None:
    with pytest.raises(ProtocolError, match=r"Verdict\.accepted"):
        Verdict(1, 0, MAX_DRAFT + 1)


def test_a_typical_round_is_small() -> None:
    draft = Draft(900, 1000, 2**64 - 1, tuple(range(2040, 2048)))
    verdict = Verdict(900, 1000, 8, (2047,), Finish.NO, 40_000, 9_000, 8)
    assert len(encode(draft)) <= 80
    assert len(encode(verdict)) <= 80
    assert all(f.metadata for f in fields(draft)), "every field is checked"
