"""The frame that takes the codec longest for its size, looked for by changing the worst ones again and again."""

from __future__ import annotations

import contextlib
import random
import time

from shared.codec import decode, encode
from shared.errors import ProtocolError
from shared.limits import MAX_APPEND, MAX_DRAFT, MAX_FRAME
from shared.messages import Draft
from tools.fuzz.frames import costly, mutate

_SMALLEST = 4096  # bytes: below, what every frame costs is most of it
_KEPT = 8
_TRIES = 3


def worst_decode(seconds: float, seed: int) -> tuple[float, bytes]:
    """Microseconds for each 1,024 bytes that the costliest frame found takes, and the frame. Looks for so many seconds.

    Starts from drawn frames and from a draft as large as one may be; each step draws a frame anew, or changes one of the
    costliest: a few bytes, its size, or where a part of it stands.
    """
    rng = random.Random(seed)
    largest = Draft(1, 0, 0, tokens=(5,) * MAX_DRAFT, append=(2**31 - 1,) * MAX_APPEND)
    best = [(_cost(frame), frame) for frame in (encode(largest), *(costly(rng, _SMALLEST) for _ in range(20)))]
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        best = sorted(best, key=lambda each: -each[0])[:_KEPT]
        frame = _changed(rng, rng.choice(best)[1]) if rng.random() < 0.7 else costly(rng, _size(rng))
        best.append((_cost(frame), frame))
    # The one that was costliest by chance may not be it: measure the last ones again.
    return max((min(cost, _cost(frame)), frame) for cost, frame in sorted(best, key=lambda each: -each[0])[:_KEPT])


def _changed(rng: random.Random, frame: bytes) -> bytes:
    data = bytearray(frame)
    match rng.randrange(3):
        case 0:
            mutate(data, rng)
        case 1:
            data = data[: rng.randint(_SMALLEST, max(_SMALLEST, len(data)))] * rng.randint(1, 3)
        case _:
            head, tail = rng.randrange(16), rng.randrange(len(data))
            data = data[:head] + data[tail:] + data[head:tail]
    data += bytes(max(0, _SMALLEST - len(data)))
    return bytes(data[:MAX_FRAME])


def _size(rng: random.Random) -> int:
    return rng.choice((_SMALLEST, 16_384, 65_536, MAX_FRAME))


def _cost(frame: bytes) -> float:
    """Microseconds of this thread for each 1,024 bytes."""
    spent = []
    for _ in range(_TRIES):
        began = time.thread_time()
        with contextlib.suppress(ProtocolError):
            decode(frame)
        spent.append(time.thread_time() - began)
    return min(spent) * 1e6 / (len(frame) / 1024)
