"""Some texts, fed to a target in every way, as many at once as a hub would have sessions."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch

from hub.kv.pages import PAGE_SIZE
from hub.model.batch import Row
from hub.model.probe_rows import probe_rows
from hub.model.target import Target
from hub.sessions.memory import KVMemory
from hub.sessions.session import Limits
from tools.bench.feeding import Feeding, Text, Way, bits_of, log_uniform, sharing_group

_ROWS = 64  # of a forward at most
_ALONE = 0.1  # share of the forwards that have a single row whatever else is chosen
_OPEN = 96  # feedings at once
_FAMILY = 4  # texts with a beginning in common
_PREFIX = (1, 4)  # full pages of that
_LENGTHS = ((0.8, 8, 48), (0.15, 48, 160), (0.05, 160, 1200))  # share of the texts, and ids behind the beginning
_LEAST_LONG = 128  # ids of a text that are never too many
_SHOWN = 8  # differences that are described, and positions of each


@dataclass
class Tally:
    """What one target's comparisons gave."""

    positions: int = 0
    compared: int = 0
    different: Counter[Way] = field(default_factory=Counter)
    batches: int = 0
    most_rows: int = 0
    examples: list[dict[str, Any]] = field(default_factory=list)

    def figures(self) -> dict[str, Any]:
        """As they are printed."""
        return {
            "positions": self.positions,
            "comparisons": self.compared,
            "different_bits": self.different.total(),
            "different_by_way": {way.value: count for way, count in self.different.items()},
            "batches": self.batches,
            "most_rows": self.most_rows,
            "examples": self.examples,
        }


class Wave:
    """The forwards by which every text is fed in every way."""

    def __init__(self, target: Target, texts: list[Text], rng: random.Random, tally: Tally) -> None:
        self._target, self._rng, self._tally = target, rng, tally
        self._memory = KVMemory(target.pool, target.cache, sharing_group)
        self._limits = Limits(target.context, target.vocab_size, frozenset(), 16)
        self._texts = texts

    def feed(self) -> Iterator[float]:
        """Feed all of them; yields the share of the ids that were fed, after each forward."""
        jobs = [(text, way) for text in self._texts for way in Way]
        self._rng.shuffle(jobs)
        jobs.sort(key=lambda job: len(job[0].ids))  # the longest, which take the most forwards, begin first
        givers = self._givers()
        whole, feedings = sum(len(text.ids) for text, _ in jobs), list[Feeding]()
        while jobs or feedings:
            while jobs and len(feedings) < _OPEN:
                text, way = jobs.pop()
                feedings.append(Feeding(text, way, self._memory, self._limits, self._rng))
            rows = self._rng.choice((log_uniform(self._rng, 1, _ROWS), self._rng.randint(1, _ROWS)))
            rows = 1 if self._rng.random() < _ALONE else rows
            self._forward(self._rng.sample(feedings, min(rows, len(feedings))))
            for feeding in [each for each in feedings if not each.left]:
                feeding.close()
                feedings.remove(feeding)
            yield 1 - (sum(len(text.ids) for text, _ in jobs) + sum(each.left for each in feedings)) / whole
        for giver in givers:
            giver.close()
        self._memory.pool.check_integrity([])

    def _givers(self) -> list[Feeding]:
        """Sessions that hold what texts have in common."""
        givers = []
        for text in self._texts[::_FAMILY]:
            beginning = Text(text.ids[: text.prefix], text.bits, 0, {way: set() for way in Way}, set())
            giver = Feeding(beginning, Way.SHARED, self._memory, self._limits, self._rng)
            while giver.left:
                self._forward([giver])
            givers.append(giver)
        return givers

    def _forward(self, feedings: list[Feeding]) -> None:
        rows = [feeding.row() for feeding in feedings]
        bits = bits_of(self._target.forward(rows))
        tally, first = self._tally, 0
        tally.batches += 1
        tally.most_rows = max(tally.most_rows, len(rows))
        batch = {"rows": len(rows), "ids_of_all": sum(len(row.ids) for row in rows), "batch": tally.batches}
        for feeding, row in zip(feedings, rows, strict=True):
            compared, wrong = feeding.take(row, bits[first : first + row.wanted], beside=len(rows) > 1)
            first += row.wanted
            tally.compared += compared
            tally.different[feeding.way] += len(wrong)
            if wrong and len(tally.examples) < _SHOWN:
                fed = {"fed_from": row.start, "ids": len(row.ids)}
                tally.examples.append({"way": feeding.way.value, "positions": wrong[:_SHOWN], **fed, **batch})


def drawn_texts(target: Target, positions: int, rng: random.Random) -> list[Text]:
    """Texts of so many ids at least, each with its logits alone; a few are long, none longer than an eighth of all."""
    texts: list[Text] = []
    longest = min(target.context, max(_LEAST_LONG, positions // 8)) - PAGE_SIZE * _PREFIX[1]
    missing = positions
    while missing > 0:
        prefix = PAGE_SIZE * rng.randint(*_PREFIX)
        beginning = _drawn(target, prefix, rng)
        for _ in range(_FAMILY):
            ((_, least, most),) = rng.choices(_LENGTHS, [share for share, *_ in _LENGTHS])
            ids = beginning + _drawn(target, min(log_uniform(rng, least, most), longest), rng)
            texts.append(Text(ids, _alone(target, ids), prefix, {way: set() for way in Way}, set()))
            missing -= len(ids)
            if missing <= 0:
                break
    return texts


def _drawn(target: Target, count: int, rng: random.Random) -> tuple[int, ...]:
    return tuple(rng.randrange(1, target.vocab_size) for _ in range(count))


def _alone(target: Target, ids: tuple[int, ...]) -> torch.Tensor:
    """The bits of the text's logits [positions, vocab], in one forward with no other row."""
    with probe_rows(target.pool, [(0, len(ids))]) as (row,):
        return bits_of(target.forward([Row(row.pages, 0, ids, len(ids))]).clone())
