"""Plan: whose ids go through the next forward, how many drafted tokens are worth verifying, how much of the prompts fits."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from heapq import heapify, heappop, heappushpop
from itertools import islice, takewhile
from math import log1p

from hub.engine.forward_time import ForwardTime
from hub.kv.pages import PAGE_SIZE, pages_for
from hub.model.batch import Row
from hub.sessions.service_classes import ServiceClass
from hub.sessions.session import HubSession

_LEAST_GAIN = (
    1.1  # times streaming's tokens per second; for less, luck sets sessions further apart than drafting helps them
)
_BESIDE = 0.02  # share of a class's forwards by which lower classes may lengthen them, on average
_ALONE = (
    0.2  # of a forward of one id: what one of lower classes may take longer while somebody of a higher one may come
)
_CHANCE = 0.05  # a drafted token less likely than this to be reached is not asked for even where it costs nothing


@dataclass(frozen=True)
class PlannedRow:
    """A session's part of a forward: ids at positions [start, end), tokens wanted behind each of the last `wanted`."""

    session: HubSession
    start: int
    ids: tuple[int, ...]
    wanted: int
    prefill: bool  # whether it feeds committed ids besides the last one

    @property
    def end(self) -> int:
        """One past the last position."""
        return self.start + len(self.ids)

    def row(self) -> Row:
        """The row for the model. The session must hold pages up to `end`.

        Of a row that wants nothing the last place is looked at all the same: where an id gives no numbers, what attends to it has none.
        Others must not find pages of such a row, not even those before that id: masked, it still spoils what is computed with it.
        """
        session, wanted = self.session, max(1, self.wanted)
        masks = session.masks(self.ids[len(self.ids) - wanted + 1 :]) if self.wanted else None
        pages, tells = session.kv.pages[: pages_for(self.end)], session.tells_surprisal and self.wanted > 0
        return Row(pages, self.start, self.ids, wanted, session.sampling, masks, tells)


@dataclass(frozen=True)
class Plan:
    """Rows for one forward, and the price of a place in the next: a drafted token of more worth pays for it. None: not known."""

    rows: tuple[PlannedRow, ...]
    price: float | None


class Scheduler:
    """Plans forwards of at most `budget` ids. Where not all fit, nodes of a class get equal shares, and a node's oldest answer goes first.

    Beside a class, those below it get what lengthens its forwards by _BESIDE on average; without it, yet while one of its sessions is open, they get
    forwards that end soon.
    """

    def __init__(self, budget: int, time: ForwardTime, max_draft: int) -> None:
        self._budget = budget
        self._max_draft = max_draft
        self._time = time
        self._served: dict[str, float] = {}  # ids fed for each node that has work
        self._saved_s = 0.0  # seconds by which lower classes may lengthen a forward of a higher one

    def admit(self, sessions: Iterable[HubSession]) -> None:
        """Note which sessions have work, before plans are made.

        A node that comes to have work starts level with the one that was served least; those without are forgotten.
        """
        present = {session.key.node for session in sessions}
        level = min((self._served[node] for node in present & self._served.keys()), default=0.0)
        self._served = {node: max(self._served.get(node, level) - level, 0.0) for node in present}

    def plan(
        self,
        sessions: Sequence[HubSession],
        keys: Callable[[HubSession, int], list[bytes]],
        idle_s: float = 0.0,
        has_above: Callable[[ServiceClass], bool] = lambda _: False,
    ) -> Plan:
        """Rows for sessions that were admitted, class by class: steps of decoding, the drafted tokens that pay, then prompts in what is left.

        `keys` gives the keys of the pages that a session's first ids fill, and none for one that shares no pages.
        `idle_s` is what a forward waits for drafts, which streaming would not. `has_above` says whether a session of a higher class is open.
        """
        rows: list[PlannedRow] = []
        for service_class in sorted({session.service_class for session in sessions}):
            budget = self._budget - sum(len(row.ids) for row in rows)
            if rows:
                # In a burst now and then: that other rows go along at all costs more than one of them does.
                budget = min(budget, self._ids_in(self._saved_s)) if self._saved_s >= self._burst_s else 0
            elif has_above(service_class):
                budget = min(budget, max(1, self._ids_in(_ALONE * self._time.estimate(1, 1))))
            if budget > 0:
                rows += self._rows([s for s in sessions if s.service_class is service_class], keys, budget)
        steps = [row.session for row in rows if not row.prefill]
        return Plan(tuple(rows), self._price(steps, idle_s) if steps else None)

    def charge(self, rows: Sequence[PlannedRow]) -> None:
        """Note what nodes were served, for their shares in the plans to come, and what lower classes had beside a higher one."""
        for row in rows:
            self._served[row.session.key.node] += len(row.ids)
        if rows:
            highest = min(row.session.service_class for row in rows)
            own = [len(row.ids) for row in rows if row.session.service_class is highest]
            beside = sum(len(row.ids) for row in rows) - sum(own)
            earned_s = _BESIDE * self._time.estimate(len(own), sum(own)) - beside * self._id_s
            self._saved_s = min(self._saved_s + earned_s, self._burst_s)

    def _rows(
        self, sessions: Sequence[HubSession], keys: Callable[[HubSession, int], list[bytes]], most: int
    ) -> list[PlannedRow]:
        """Rows for sessions of one class, of at most `most` ids."""
        prompts = self._in_turn(s for s in sessions if s.unfed > 1)
        # However many steps there are, a page of prompts goes along.
        budget = most - (min(PAGE_SIZE, most // 2) if prompts else 0)
        steps = self._in_turn(s for s in sessions if s.unfed == 1 and s.wants_tokens)[:budget]
        lengths, seconds = self.lengths(steps, budget)
        rows = [_step(session, length) for session, length in zip(steps, lengths, strict=True)]
        room = most - sum(len(row.ids) for row in rows)
        if rows:
            # A prompt may double the time of the steps beside it, not stall them.
            room = min(room, max(PAGE_SIZE, int(seconds / max(self._time.token, 1e-9))))
        return rows + _chunks(prompts, room, keys)

    @property
    def _burst_s(self) -> float:
        """Seconds of a page of ids."""
        return PAGE_SIZE * self._id_s

    @property
    def _id_s(self) -> float:
        """Seconds of one more id, in a row of its own."""
        return max(self._time.estimate(1, 1) - self._time.fixed, 1e-9)

    def _ids_in(self, seconds: float) -> int:
        """Ids that lengthen a forward by no more than that."""
        return int(seconds / self._id_s)

    def _price(self, steps: Sequence[HubSession], idle_s: float) -> float:
        """What a drafted token must be worth (see `lengths`) at the block length where most tokens come per second.

        With n sessions of acceptance a, blocks of g give n (1 + a + … + a^g) tokens in a forward of n (g + 1) ids and,
        unless g = 0, the time that it waits for drafts. Where streaming is best no token is worth enough.
        """
        count = len(steps)
        acceptance = sum(session.acceptance.rate for session in steps) / count
        streaming_s = self._time.estimate(count, count)
        best, seconds = _LEAST_GAIN / streaming_s, 0.0
        expected, chance = 1.0, 1.0
        for length in range(1, self._max_draft + 1):
            chance *= acceptance
            expected += chance
            length_s = self._time.estimate(count, count * (length + 1)) + idle_s
            if expected / length_s > best:
                best, seconds = expected / length_s, length_s
        return self._time.token * count / seconds if seconds else 1.0

    def _in_turn(self, sessions: Iterable[HubSession]) -> list[HubSession]:
        """Sessions in the order in which they are served: one of the node that was served least, and so on."""
        queues: dict[str, deque[HubSession]] = {}
        for session in sorted(sessions, key=lambda s: s.begun):
            queues.setdefault(session.key.node, deque()).append(session)
        heap = [(self._served[node], queue[0].begun, node) for node, queue in queues.items()]
        heapify(heap)
        order: list[HubSession] = []
        while heap:
            served, _, node = heap[0]
            order.append(queues[node].popleft())
            if queues[node]:
                heappushpop(heap, (served + 1 + len(order[-1].drafted), queues[node][0].begun, node))
            else:
                heappop(heap)
        return order

    def lengths(self, steps: Sequence[HubSession], budget: int) -> tuple[list[int], float]:
        """For each session how many of its drafted tokens to verify, and the seconds of the forward.

        A token brings its session the chance of being reached and accepted, of what it gets from the forward anyway, and
        takes the time of its place from all. Lengths are proportionally fair: tokens go along, those of most worth first, as long as the
        logarithms of the sessions' tokens per second rise in sum. For sessions alike that is where most tokens come per second.
        """
        lengths = [0] * len(steps)
        seconds = self._time.estimate(len(steps), len(steps))
        worths = sorted(
            (-worth, number)
            for number, session in enumerate(steps)
            for worth, _ in islice(_worths(session.acceptance.rate), len(session.drafted))
        )
        for negative, number in worths[: budget - len(steps)]:
            if log1p(-negative) < len(steps) * log1p(self._time.token / seconds):
                break
            lengths[number] += 1
            seconds += self._time.token
        return lengths, seconds


def advised_length(acceptance: float, price: float, longest: int) -> int:
    """The drafted tokens, 0 to `longest`, that are worth more than the price and likely to be reached."""
    wanted = takewhile(lambda token: token[0] > price and token[1] > _CHANCE, _worths(acceptance))
    return sum(1 for _ in islice(wanted, longest))


def _worths(acceptance: float) -> Iterator[tuple[float, float]]:
    """Of the first drafted token, the second, …: its chance of being accepted over the tokens expected without it; the chance."""
    expected = chance = 1.0
    while True:
        chance *= acceptance
        yield chance / expected, chance
        expected += chance


def _step(session: HubSession, length: int) -> PlannedRow:
    """The last committed id and the first `length` drafted ones."""
    start = session.committed - 1
    ids = (session.transcript.ids[start], *session.drafted[:length])
    return PlannedRow(session, start, ids, wanted=length + 1, prefill=False)


def _chunks(
    prompts: Sequence[HubSession], room: int, keys: Callable[[HubSession, int], list[bytes]]
) -> list[PlannedRow]:
    """Parts of prompts, at most `room` ids. Who begins as another does waits until that one's pages can be shared."""
    rows: list[PlannedRow] = []
    coming: set[bytes] = set()
    for session in prompts:
        if room <= 0:
            break
        end = min(session.committed, session.computed + room)
        if end == session.committed and session.wants_tokens and end - session.computed + len(session.drafted) > room:
            end -= 1  # the drafted tokens do not fit any more: keep the last id back for the forward that verifies them
        pages = keys(session, end)[session.computed // PAGE_SIZE :]
        if pages and session.computed % PAGE_SIZE == 0 and pages[0] in coming:
            continue
        coming.update(pages)
        rows.append(_chunk(session, end))
        room -= len(rows[-1].ids)
    return rows


def _chunk(session: HubSession, end: int) -> PlannedRow:
    ids = tuple(session.transcript.ids[session.computed : end])
    if end < session.committed or not session.wants_tokens:
        return PlannedRow(session, session.computed, ids, wanted=0, prefill=True)
    return PlannedRow(
        session, session.computed, (*ids, *session.drafted), wanted=len(session.drafted) + 1, prefill=True
    )
