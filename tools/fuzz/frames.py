"""Payloads: messages as they should be, mutated ones, random bytes, and frames that are made to cost time or memory."""

from __future__ import annotations

import math
import random
import struct
import zlib
from collections.abc import Callable, Sequence

from shared.codec import encode
from shared.grammar import Grammar
from shared.limits import MAX_DRAFT, MAX_FRAME, MAX_PIECE
from shared.messages import (
    MAX_SURPRISAL,
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

LIMIT = 2**20  # bytes of the largest payload that is sent: more than a broker of deploy/mosquitto takes
_ODD_NUMBERS = (0, 1, 127, 128, 255, 2**15, 2**16 - 1, 2**24, 2**31 - 1, 2**32 - 1)


class Frames:
    """Draws payloads from a seed's chance."""

    def __init__(self, rng: random.Random, pair: str, tokenizer: bytes) -> None:
        """`pair` and `tokenizer` are what an `Open` has to name."""
        self._rng = rng
        self._pair = pair
        self._tokenizer = tokenizer

    def of(self, kinds: Sequence[Callable[[], AnyMessage]]) -> bytes:
        """A payload for a topic on which messages of these kinds belong: as it should be, or not at all."""
        make = self._rng.choices(
            (self._right, self._mutated, self._foreign, self._random, self._costly), (3, 8, 1, 3, 5)
        )[0]
        return make(kinds)

    def message(self) -> AnyMessage:
        """A message of any kind."""
        kinds: tuple[Callable[[], AnyMessage], ...] = (
            self.open, self.opened, self.draft, self.verdict, self.early, self.fault, self.close, self.fetch, self.piece,
        )  # fmt: skip
        return self._rng.choice(kinds)()

    def open(self) -> Open:
        """A request that a hub may grant, most of the time."""
        rng = self._rng
        pair = self._pair if rng.random() < 0.8 else "x" * rng.randrange(129)
        tokenizer = self._tokenizer if rng.random() < 0.8 else rng.randbytes(16)
        return Open(rng.randbytes(16), pair, tokenizer, rng.random() < 0.5)

    def opened(self) -> Opened:
        """An answer to an open."""
        rng = self._rng
        return Opened(
            rng.randbytes(16), "home/float32", rng.randint(1, 2**24), rng.randint(1, MAX_DRAFT),
            self._ids(rng.randrange(33)), rng.uniform(0, 100), rng.randrange(2**20), rng.random(), "·" * rng.choice([0, 256]),
        )  # fmt: skip

    def draft(self) -> Draft:
        """A draft: the first of a session, or one that does not go with what the hub holds."""
        rng = self._rng
        if rng.random() < 0.1:
            append = tuple(rng.randrange(2000) for _ in range(rng.randint(1, 24)))
            until, (digest, packed) = len(append) + rng.randrange(2), self._grammar()
            begins = rng.choice((len(append), self._number(0, 2**24))) if digest else 0
            sampling = Sampling(seed=7, grammar=digest, grammar_from=begins)
            wants = rng.random() < 0.5
            return Draft(1, 0, 0, until=until, append=append, sampling=sampling, grammar=packed, wants_surprisal=wants)
        sampling = Sampling(rng.uniform(0.01, 100), rng.randrange(2**20), rng.random(), rng.getrandbits(64))
        return Draft(
            self._number(1, 2**32 - 1), self._number(0, 2**24), rng.getrandbits(64), self._ids(rng.randrange(MAX_DRAFT + 1)),
            self._number(0, 2**24), self._ids(int(10 ** rng.uniform(0, 4))), rng.random() < 0.3, sampling if rng.random() < 0.3 else None,
        )  # fmt: skip

    def _grammar(self) -> tuple[int, bytes]:
        """The hash and the packed text of a grammar: of none, as a rule; of one that is none, too large, or another than it says."""
        rng = self._rng
        grammar = rng.choice((
            Grammar.of_schema({"enum": [rng.randrange(1000)]}),
            Grammar.of_schema({"type": "string", "pattern": rng.choice(("^(a|aa)+$", "(?=a)", "^(.*a.*){30}$", "["))}),
            Grammar.of_schema({"$ref": "#"}),
            Grammar("[" * rng.randrange(10_000)),
        ))  # fmt: skip
        digest = rng.choice((0, 0, grammar.digest, rng.getrandbits(64)))
        packed = rng.choice((grammar.packed, b"", rng.randbytes(40), zlib.compress(b" " * 2**22)))
        return digest, packed if digest or rng.random() < 0.1 else b""

    def verdict(self) -> Verdict:
        """A verdict."""
        rng = self._rng
        return Verdict(
            self._number(1, 2**32 - 1), self._number(0, 2**24), rng.randint(0, MAX_DRAFT), self._ids(rng.randrange(300)),
            rng.choice(list(Finish)), self._number(0, 2**32 - 1), self._number(0, 2**32 - 1), rng.choice((None, 0, MAX_DRAFT)),
            tuple(rng.randrange(MAX_SURPRISAL + 1) for _ in range(rng.choice((0, 9)))),
        )  # fmt: skip

    def early(self) -> Early:
        """An early verdict."""
        rng = self._rng
        return Early(
            self._number(1, 2**32 - 1), self._number(0, 2**24), rng.randint(0, MAX_DRAFT), self._ids(rng.randrange(65))
        )

    def fault(self) -> Fault:
        """A fault."""
        rng = self._rng
        session = rng.randbytes(16) if rng.random() < 0.5 else None
        return Fault(rng.choice(list(FaultCode)), "\u2028" * rng.randrange(300), self._number(0, 3_600_000), 0, session)

    def close(self) -> Close:
        """The end of a session."""
        return Close()

    def fetch(self) -> Fetch:
        """A request for a file that nobody has."""
        return Fetch(self._rng.randbytes(32), self._number(0, 2**40), self._number(1, MAX_PIECE))

    def piece(self) -> Piece:
        """A piece of a file that nobody has asked for."""
        rng = self._rng
        return Piece(
            rng.randbytes(32), self._number(0, 2**40), rng.randbytes(16), rng.randbytes(rng.choice((0, 5, 3000)))
        )

    def _right(self, kinds: Sequence[Callable[[], AnyMessage]]) -> bytes:
        return encode(self._rng.choice(kinds)())

    def _foreign(self, _: Sequence[Callable[[], AnyMessage]]) -> bytes:
        """A message that belongs on another topic, perhaps."""
        return encode(self.message())

    def _random(self, _: Sequence[Callable[[], AnyMessage]]) -> bytes:
        return self._rng.randbytes(self._rng.choice((0, 1, 2, 16, 200, 3000)))

    def _costly(self, _: Sequence[Callable[[], AnyMessage]]) -> bytes:
        return costly(self._rng, size(self._rng))

    def _mutated(self, kinds: Sequence[Callable[[], AnyMessage]]) -> bytes:
        data = bytearray(self._right(kinds))
        for _ in range(self._rng.randint(1, 4)):
            mutate(data, self._rng)
        return bytes(data)

    def _ids(self, count: int) -> tuple[int, ...]:
        return tuple(self._rng.choices((*_ODD_NUMBERS[:9], 5, 300, 2047), k=count))

    def _number(self, low: int, high: int) -> int:
        return min(high, max(low, self._rng.choice((self._rng.randint(low, high), *_ODD_NUMBERS))))


def mutate(data: bytearray, rng: random.Random) -> None:
    """Change, add or take away something in place."""
    at = rng.randrange(len(data) + 1)
    match rng.randrange(6):
        case 0 if data:
            data[at % len(data)] ^= 1 << rng.randrange(8)
        case 1 if data:
            data[at % len(data)] = rng.choice(
                (0x80, 0x90, 0xC0, 0xC1, 0xC6, 0xC9, 0xCB, 0xCF, 0xD9, 0xDB, 0xDD, 0xDF, 0xFF)
            )
        case 2:
            del data[at : at + rng.randint(1, 8)]
        case 3:
            data[at:at] = rng.randbytes(rng.randint(1, 8))
        case 4:
            data[at:at] = rng.choice(ELEMENTS)
        case _:
            data[at:at] = data[at : at + rng.randint(1, 32)] * rng.randint(1, 8)


def size(rng: random.Random) -> int:
    """Bytes of a frame: nine of ten below 2 kB, the others up to what the codec reads, and now and then more.

    Each order of magnitude comes as often as the next.
    """
    if rng.random() < 0.9:
        return int(2 ** rng.uniform(4, 11))
    return LIMIT if rng.random() < 0.01 else int(2 ** rng.uniform(11, math.log2(MAX_FRAME) + 0.001))


# What a reader of msgpack may spend time or memory on: empty and nested containers, counts that promise much, odd numbers.
ELEMENTS: tuple[bytes, ...] = (
    b"\x90", b"\x91", b"\x92", b"\x9f", b"\x80", b"\x81\xc0", b"\x81\xa1k", b"\xc0", b"\xc2", b"\x00", b"\x7f", b"\xff",
    b"\xa0", b"\xa1a", b"\xbf" + b"\xf0\x9f\x98\x80" * 7 + b"abc", b"\xc4\x00", b"\xc4\x01x", b"\xd4\x01x", b"\xd6\xff\x00\x00\x00\x00",
    b"\xc7\x00\x05", b"\xc7\x0c\xff" + b"\xff" * 12, b"\xcb\x7f\xf8" + bytes(6), b"\xcb\x7f\xf0" + bytes(6), b"\xca\x7f\x80\x00\x00",
    b"\xcf" + b"\xff" * 8, b"\xd3\x80" + bytes(7), b"\xce" + b"\xff" * 4, b"\xdc\xff\xff", b"\xdd\x00\x0f\x42\x40", b"\xdd\xff\xff\xff\xff",
    b"\xde\xff\xff", b"\xdf\x00\x0f\x42\x40", b"\xdf\xff\xff\xff\xff", b"\xdb\xff\xff\xff\xff", b"\xc6\x7f\xff\xff\xff", b"\xc9\x00\x0f\xff\xff\x01",
    b"\xda\x00\x05hello", b"\xc1", b"\xce\x00\x01\x00\x00", b"\xcd\x01\x00",
)  # fmt: skip


def costly(rng: random.Random, length: int) -> bytes:
    """A frame of about so many bytes: a head as a message has it, and one to three runs of few elements behind it."""
    kind, fields = rng.choice(((1, 5), (2, 10), (3, 10), (4, 10), (5, 6), (6, 7), (7, 2), (200, 15)))
    head = bytes([0x90 | fields, 0x01, kind if kind < 128 else 0xCC])
    if rng.random() < 0.7:
        head += bytes([rng.randrange(1, 100), 0, 0])
    runs = rng.randint(1, 3)
    return (head + b"".join(run(rng, length // runs) for _ in range(runs)))[:LIMIT]


def run(rng: random.Random, length: int) -> bytes:
    """A few elements again and again, under a header that announces as many, more, or none."""
    unit = b"".join(rng.choices(ELEMENTS, k=rng.choice((1, 1, 1, 2, 3))))
    count = max(1, length // len(unit))
    announced = rng.choice((count, 2**31, None))
    head = b"" if announced is None else rng.choice((b"\xdd", b"\xdf")) + struct.pack(">I", announced)
    return head + unit * count
