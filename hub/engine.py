"""The hub's loop: collect, plan, forward, publish, housekeep."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from hub.batch import Row, plan
from hub.book import SessionBook
from hub.sampling import draw
from hub.session import HubSession, SessionKey
from hub.stats import HubStats
from hub.target import Target
from hub.window import Window
from shared.messages import AnyMessage, Close, Draft, Fault, FaultCode, Finish, Open, Opened, Verdict

log = logging.getLogger(__name__)

_BUSY_RETRY_MS = 2_000
_HOUSEKEEPING_S = 1.0
_MAX_INBOX = 8_000  # fewer than the MQTT client holds on their way out: each may be answered by a fault


@dataclass(frozen=True)
class Arrival:
    """A valid message of a node, and when it came (`time.monotonic`)."""

    key: SessionKey
    message: Open | Draft | Close
    at: float


class Engine:
    """Runs on one thread; other threads only put into `inbox` (by `submit`) and read `stats`."""

    def __init__(
        self,
        target: Target,
        book: SessionBook,
        *,
        answer_open: Callable[[Open], Opened | Fault],
        publish: Callable[[SessionKey, AnyMessage], None],
        window_s: float,
        budget: int,
        vocab_size: int,
    ) -> None:
        """`publish` sends a message to a session's node; `vocab_size` masks the ids past the tokenizer's."""
        self.stats = HubStats()
        self._target = target
        self._book = book
        self._answer_open = answer_open
        self._publish = publish
        self._budget = budget
        self._vocab_size = vocab_size
        self._inbox: queue.Queue[Arrival] = queue.Queue(_MAX_INBOX)
        self._window = Window(window_s)
        self._working: dict[SessionKey, float] = {}  # sessions with work, oldest first, and since when

    def submit(self, arrival: Arrival) -> None:
        """Queue a message for the loop; counted and lost when too many wait."""
        try:
            self._inbox.put_nowait(arrival)
        except queue.Full:
            self.stats.dropped += 1

    def run(self, stop: threading.Event) -> None:
        """The loop, until `stop` is set."""
        while not stop.is_set():
            for arrival in self._collect():
                try:
                    self._take_in(arrival)
                except Exception:
                    # Whatever one session's message brings about must not end the loop of all others.
                    log.exception("a message of %s failed; its session is closed", arrival.key.node)
                    self._forget(arrival.key)
            self._answer(self._plan())
            self._book.expire(time.monotonic())

    def _collect(self) -> list[Arrival]:
        arrivals = self._drain([])
        if not arrivals and not self._working:
            try:
                arrivals = self._drain([self._inbox.get(timeout=_HOUSEKEEPING_S)])
            except queue.Empty:
                return []
        closes_at = time.monotonic() + self._window.length_s
        self._window.submitted(a.key for a in arrivals)
        while (remaining := self._window.remaining(closes_at, time.monotonic())) > 0:
            try:
                late = self._drain([self._inbox.get(timeout=remaining)])
            except queue.Empty:
                continue
            self._window.submitted(a.key for a in late)
            arrivals += late
        return arrivals

    def _drain(self, arrivals: list[Arrival]) -> list[Arrival]:
        while True:
            try:
                arrivals.append(self._inbox.get_nowait())
            except queue.Empty:
                return arrivals

    def _take_in(self, arrival: Arrival) -> None:
        key, message = arrival.key, arrival.message
        match message:
            case Open():
                answer = self._answer_open(message)
                if isinstance(answer, Opened) and not self._book.open(key, arrival.at):
                    answer = Fault(FaultCode.BUSY, "the hub has no room for a session", _BUSY_RETRY_MS)
                if isinstance(answer, Fault):
                    answer = replace(answer, session=message.session)
                self._reply(key, answer)
            case Close():
                self._forget(key)
            case Draft():
                session = self._book.find(key, arrival.at)
                if session is None:
                    detail = "the hub does not know this session (any more); re-open it"
                    self._reply(key, Fault(FaultCode.UNKNOWN_SESSION, detail, round=message.round))
                    return
                reply = session.receive(message)
                if reply is not None:
                    self._reply(key, reply)
                if session.has_work:
                    self._working.setdefault(key, arrival.at)
                else:
                    self._working.pop(key, None)

    def _plan(self) -> list[Row]:
        """Rows for the sessions with work; those that can't be given pages are told to come back."""
        rows = []
        for row in plan(self._sessions_with_work(), self._budget):
            if self._book.give_room(row.session, row.end):
                rows.append(row)
            else:
                self._reply(
                    row.session.key,
                    Fault(FaultCode.BUSY, "the hub's K/V memory is full", _BUSY_RETRY_MS, round=row.session.round),
                )
                self._forget(row.session.key)
        return rows

    def _sessions_with_work(self) -> list[HubSession]:
        now = time.monotonic()
        found = [self._book.find(key, now) for key in self._working]
        return [session for session in found if session is not None]

    def _answer(self, rows: Sequence[Row]) -> None:
        """Forward `rows`, commit what the target says and publish the verdicts."""
        if not rows:
            return
        started = time.monotonic()
        try:
            logits = self._target.forward(rows)
            forward_us = int((time.monotonic() - started) * 1e6)
            drawing = [row for row in rows if row.wanted]
            samplings = [row.session.sampling for row in drawing for _ in range(row.wanted)]
            positions = [row.session.committed + i for row in drawing for i in range(row.wanted)]
            drawn = draw(logits[:, : self._vocab_size], samplings, positions) if drawing else []
        except Exception:
            log.exception("a forward over %d rows failed; their sessions are closed", len(rows))
            for row in rows:
                self._reply(
                    row.session.key, Fault(FaultCode.UNKNOWN_SESSION, "the forward failed", round=row.session.round)
                )
                self._forget(row.session.key)
            return
        self._count(rows, forward_us)
        first = 0
        for row in rows:
            if not row.wanted:
                row.session.computed = row.end
                continue
            waited_us = int(max(0.0, started - self._working[row.session.key]) * 1e6)
            self._settle(row, drawn[first : first + row.wanted], forward_us, waited_us)
            first += row.wanted
        self._working = self._still_working({row.session.key for row in rows if row.wanted}, started)

    def _still_working(self, served: set[SessionKey], now: float) -> dict[SessionKey, float]:
        """The sessions with work, those that were served just now behind the others, waiting anew."""
        kept = [key for key in self._working if key not in served] + [key for key in self._working if key in served]
        working = {session.key for session in self._sessions_with_work() if session.has_work}
        return {key: now if key in served else self._working[key] for key in kept if key in working}

    def _settle(self, row: Row, drawn: Sequence[int], forward_us: int, queued_us: int) -> None:
        session, drafted = row.session, len(row.session.drafted)
        verdict = replace(session.commit(drawn), forward_us=forward_us, queued_us=queued_us)
        self._reply(session.key, verdict)
        self.stats.rounds += 1
        self.stats.drafted += drafted
        self.stats.accepted += verdict.accepted
        self.stats.committed += verdict.accepted + len(verdict.ids)
        if verdict.finish is Finish.NO and not session.wants_tokens:
            self._window.expect(session.key, time.monotonic())

    def _count(self, rows: Sequence[Row], forward_us: int) -> None:
        self.stats.forward_us += forward_us
        if any(row.prefill for row in rows):
            self.stats.prefill_forwards += 1
        else:
            self.stats.target_forwards += 1

    def _reply(self, key: SessionKey, message: Opened | Verdict | Fault) -> None:
        self.stats.faults += isinstance(message, Fault)
        self._publish(key, message)

    def _forget(self, key: SessionKey) -> None:
        self._book.close(key)
        self._working.pop(key, None)
        self._window.submitted([key])
