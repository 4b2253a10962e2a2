"""The ids of a session, with the chained digest that lets two sides notice that they hold different ones."""

from __future__ import annotations

import itertools
import operator
from array import array
from collections.abc import Iterable, Sequence
from hashlib import blake2b

_EMPTY = 0


def chain(digest: int, token: int) -> int:
    """The digest of a sequence from that of all but its last id: 64-bit BLAKE2b over both, little endian."""
    packed = digest.to_bytes(8, "little") + token.to_bytes(4, "little")
    return int.from_bytes(blake2b(packed, digest_size=8).digest(), "little")


def common_length(first: Sequence[int], second: Sequence[int]) -> int:
    """Length of the longest common prefix."""
    differ = itertools.compress(itertools.count(), map(operator.ne, first, second))
    return next(differ, min(len(first), len(second)))


class Transcript:
    """Ids that only grow at the end or are truncated; `digest(n)` is the chained digest of ids [0, n).

    They take 12 bytes each, digest included, and an eighth more in reserve: a hub holds thousands of texts.
    """

    def __init__(self) -> None:
        self._ids: array[int] = array("I")
        self._digests: array[int] = array("Q", [_EMPTY])

    def __len__(self) -> int:
        return len(self._ids)

    @property
    def ids(self) -> Sequence[int]:
        """All ids; not to be changed by the caller."""
        return self._ids

    def digest(self, length: int) -> int:
        """The digest of ids [0, length), length ≤ len(self)."""
        return self._digests[length]

    def extend(self, ids: Iterable[int]) -> None:
        """Append `ids`."""
        for token in ids:
            self._ids.append(token)
            self._digests.append(chain(self._digests[-1], token))

    def truncate(self, length: int) -> None:
        """Drop the ids past `length`."""
        del self._ids[length:]
        del self._digests[length + 1 :]
