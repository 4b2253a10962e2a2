"""One text, fed to a target in one way, with the bits of its logits compared with those that it has alone in one forward."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import torch

from hub.kv.pages import pages_for
from hub.model.batch import Row
from hub.sessions.memory import KVMemory
from hub.sessions.session import HubSession, Limits, SessionKey

_INTEGERS = {2: torch.int16, 4: torch.int32}  # by the bytes of a number
_BLOCK = (2, 16)  # ids
_CHUNK = 256  # ids at most
_WRONG = 0.25  # share of the blocks that end in drafted ids that are wrong
_TRUNCATED = 0.5  # share of the feedings on shared pages that write into one of them
_SHARING = "sharing"  # the node whose sessions share pages
_OWN = "own"  # one whose sessions share none


class Way(Enum):
    """How a text is fed."""

    BLOCKS = "blocks"  # of 2 to 16 ids, some with wrong ids behind them that are rejected
    SINGLE = "one_by_one"
    CHUNKS = "chunks"  # of 1 to 256 ids, as a prompt is
    EVICTED = "evicted"  # anew in other chunks, after its pages were given back and another text has written to them
    SHARED = "shared"  # behind a beginning whose pages another session has computed; some write into such a page


@dataclass
class Text:
    """A text, the bits of its logits [positions, vocab] alone, and in which ways each of its positions was compared."""

    ids: tuple[int, ...]
    bits: torch.Tensor
    prefix: int  # ids of its beginning that other texts have too, in full pages
    ways: dict[Way, set[int]]
    beside: set[int]  # positions compared beside other rows

    def covered(self) -> int:
        """The number of positions compared in each way that applies, and beside others."""
        behind = self.ways[Way.SHARED] | set(range(self.prefix))
        return len(set.intersection(behind, self.beside, *(self.ways[way] for way in Way if way is not Way.SHARED)))


def bits_of(logits: torch.Tensor) -> torch.Tensor:
    """The numbers as integers of as many bits: two NaN may be equal so, and 0 differs from -0."""
    return logits.view(_INTEGERS[logits.element_size()])


class Feeding:
    """A text on its way through the target, as a session of a hub goes."""

    def __init__(self, text: Text, way: Way, memory: KVMemory, limits: Limits, rng: random.Random) -> None:
        """`limits` are the target's."""
        self.text, self.way = text, way
        self._memory, self._rng = memory, rng
        self._limits = limits
        self._session = self._new_session()
        self._session.transcript.extend(text.ids)
        self._others: HubSession | None = None  # has the pages that an evicted session had
        self._right = 0  # ids of the last row that are the text's own
        self._evicted_at = rng.randrange(1, len(text.ids) + 1) if way is Way.EVICTED else None
        if way is Way.SHARED:
            memory.adopt(self._session)
            if self._session.computed and rng.random() < _TRUNCATED:
                self._session.kv.void(self._session.computed - rng.randint(1, 15))

    @property
    def left(self) -> int:
        """Ids that are still to be fed."""
        again = 0 if self._evicted_at is None else self._evicted_at
        return self._session.unfed + again

    def row(self) -> Row:
        """The next row. Of what is evicted the last logits alone are wanted, as of a prompt. Raises RuntimeError where the memory is too small."""
        session = self._session
        if self._evicted_at is not None and session.computed >= self._evicted_at:
            self._others = self._new_session()
            self._others.transcript.extend(self._rng.choices(self.text.ids, k=session.computed))
            self._memory.release(session)
            self._evicted_at = None
            self._right = 0
            return self._held(self._others, tuple(self._others.transcript.ids), 1)
        end = session.computed + self._count()
        ids = self.text.ids[session.computed : end if self._evicted_at is None else min(end, self._evicted_at)]
        self._right = len(ids)
        if self.way is Way.BLOCKS and self._rng.random() < _WRONG:
            ids += tuple(self._rng.choices(self.text.ids, k=self._rng.randint(1, 4)))
        ids = ids[: self._limits.context - session.computed]
        return self._held(session, ids, len(ids) if self._evicted_at is None else 1)

    def take(self, row: Row, bits: torch.Tensor, *, beside: bool) -> tuple[int, list[int]]:
        """Compare what came of the row just given, [wanted, vocab]: how many positions, and those whose bits differ.

        `beside` says whether there were other rows.
        """
        if self._others is not None:
            self._memory.release(self._others)
            self._others = None
            return 0, []
        first, end = row.end - row.wanted, row.start + self._right
        self._session.fed(end)
        if self.way is Way.SHARED:
            self._memory.offer(self._session)
        differs = (bits[: end - first] != self.text.bits[first:end]).any(1)
        if self._evicted_at is None:
            self.text.ways[self.way].update(range(first, end))
        if beside:
            self.text.beside.update(range(first, end))
        return end - first, [first + place for place in differs.nonzero()[:, 0].tolist()]

    def close(self) -> None:
        """Give the pages back."""
        self._memory.release(self._session)

    def _count(self) -> int:
        if self.way is Way.SINGLE:
            return 1
        if self.way is Way.BLOCKS or (self.way is Way.SHARED and self._rng.random() < 1 / 2):
            return self._rng.randint(*_BLOCK)
        return log_uniform(self._rng, 1, _CHUNK)

    def _new_session(self) -> HubSession:
        return HubSession(SessionKey(_SHARING if self.way is Way.SHARED else _OWN, b""), self._limits)

    def _held(self, session: HubSession, ids: Sequence[int], wanted: int) -> Row:
        start = session.computed
        if not self._memory.reserve(session, start + len(ids)):
            raise RuntimeError("the memory for K/V is too small for so many texts at once")
        return Row(session.kv.pages[: pages_for(start + len(ids))], start, tuple(ids), wanted)


def log_uniform(rng: random.Random, least: int, most: int) -> int:
    """A whole number between the two, as often below their geometric mean as above."""
    return round(math.exp(rng.uniform(math.log(least), math.log(most))))


def sharing_group(key: SessionKey) -> bytes | None:
    """The group of a session for `KVMemory`."""
    return _SHARING.encode() if key.node == _SHARING else None
