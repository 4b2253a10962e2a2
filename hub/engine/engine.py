"""The hub's loop: collect, plan, forward, publish, housekeep."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

from hub.engine.early import EarlyVerdicts
from hub.engine.forward import Forwarded, PlanForward
from hub.engine.forward_time import ForwardTime
from hub.engine.grammars import Grammars
from hub.engine.inbox import Arrival, Inbox, Request
from hub.engine.planner import Planner
from hub.engine.scheduler import Plan, PlannedRow, Scheduler, advised_length
from hub.engine.stats import HubStats
from hub.engine.trace import EngineTrace
from hub.engine.turns import Turns
from hub.engine.window import Window
from hub.engine.work import Work
from hub.model.target import Target
from hub.sessions.book import SessionBook
from hub.sessions.memory import KVMemory
from hub.sessions.session import HubSession, SessionKey
from shared.errors import RankLost
from shared.guide import CompiledGrammar, GuideMaker
from shared.messages import (
    MAX_DETAIL,
    MAX_MICROSECONDS,
    AnyMessage,
    Close,
    Draft,
    Fault,
    FaultCode,
    Finish,
    Open,
    Opened,
    Verdict,
)

log = logging.getLogger(__name__)

_BUSY_RETRY_MS = 2_000  # milliseconds after which a node may try again to open a session
_HOUSEKEEPING_S = 1.0  # seconds without a message after which silent sessions are looked for
_STALLED_S = 0.05  # seconds between two looks for pages while no session with work gets any
_NO_NUMBERS = (
    "the target gives no numbers for this text (NaN, or an error); ask otherwise, or run the hub with --dtype float32"
)
_MOVED = Fault(FaultCode.MOVED, "the hub ends; open a session with another one")
_RECEIVED_S = (
    2e-4  # seconds that the MQTT client's thread takes for a message, and for the broker's PUBACK of the answer
)
_INTAKE_S = 0.1  # seconds for which messages are read before a forward at most


class Engine:
    """Runs on the thread that loaded the target. Other threads put into its inbox, by `submit`, and read `stats`."""

    def __init__(
        self,
        target: Target,
        book: SessionBook,
        memory: KVMemory,
        *,
        answer_open: Callable[[Open], Opened | Fault],
        publish: Callable[[SessionKey, AnyMessage], None],
        forward_time: ForwardTime,
        window: Window,
        budget: int,
        max_queue: int,
        least_rest_s: float = 0.0,
        guides: GuideMaker | None = None,
        trace: EngineTrace | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`publish` sends a message to a session's node; `forward_time` is what is known of the target's speed.

        No session is opened while `max_queue` others have work. Early verdicts are sent by a target that has an exit, in
        forwards whose rest behind it takes at least `least_rest_s`. `guides` compile the grammars of answers. `trace` is told what happens when, by the system's clock. `clock` gives seconds; arrivals carry its times.
        """
        self.stats = HubStats()
        self.book = book
        self.turns = Turns()  # of this thread and the one that reads from the broker
        self._target = target
        self._memory = memory
        self._answer_open = answer_open
        self._publish = publish if trace is None else trace.publishing(publish)
        self._trace = trace
        self._window = window
        self._budget = budget
        self._max_queue = max_queue
        self._clock = clock
        self._inbox = Inbox(clock, book.class_of)
        self._work = Work(book)
        self._served: Collection[str] = ()  # nodes that had work of late
        self._drafted = 0  # drafted tokens that came since the last plan
        self._stalled = False  # whether no session with work could be given pages
        self._drafts = 0  # taken in so far
        self._time = forward_time
        self._early = EarlyVerdicts(target.exit_rest, least_rest_s, book.limits.vocab_size, self._publish, self.stats)
        self._plan_forward = PlanForward(target, forward_time, self._early, book.limits.vocab_size, clock)
        scheduler = Scheduler(budget, forward_time, book.limits.max_draft)
        self._grammars = Grammars(guides, self._wake)
        planner = Planner(scheduler, book, memory, self.stats, clock)
        # Where there is a trace it stands around these; without one nothing is asked in the loop.
        self._make_plan = planner.plan if trace is None else trace.planning(planner.plan)
        forward = self._plan_forward
        self._run = forward.run if trace is None else trace.computing(forward.run)
        self._run_each = forward.run_each if trace is None else trace.computing(forward.run_each)

    def close(self) -> None:
        """Nothing more is to be done: end what runs beside the loop."""
        self._grammars.close()

    def submit(self, arrival: Arrival) -> None:
        """Queue a message for the loop, from any thread. When too many wait one is lost, which `lost` counts."""
        self._inbox.put(arrival)

    def run(self, stop: threading.Event, beat: Callable[[], None] = lambda: None) -> None:
        """The loop, until `stop` is set. `beat` is called once around it, and at least once a second while there is nothing to do."""
        while not stop.is_set():
            self.step()
            beat()

    def drain(self) -> None:
        """The loop has ended for good: send every session to another hub, and who asks for one."""
        while (arrival := self._inbox.get(0.0)) is not None:
            request = arrival.read()
            if request is None:
                continue
            match request.message:
                case Open():
                    self._reply(request.key, replace(_MOVED, session=request.message.session))
                case Draft() if self.book.get(request.key) is None:
                    self._reply(request.key, _MOVED)
        for session in self.book:
            self._reply(session.key, _MOVED)

    def step(self) -> None:
        """Once around the loop."""
        self._collect()
        plan = self._plan()
        forwarded = self._forward(plan)
        self._publish_verdicts(plan, forwarded)
        self._housekeep(plan, forwarded)

    def has_room(self, node: str, size: int) -> bool:
        """Whether a message of the node would be read some time. To be asked by any thread."""
        return self._inbox.has_room(node, size)

    @property
    def has_work(self) -> bool:
        """Whether a session waits for a forward, or a message to be read."""
        return bool(self._work) or len(self._inbox) > 0

    @property
    def unread(self) -> int:
        """Messages that wait to be read."""
        return len(self._inbox)

    @property
    def drafts(self) -> int:
        """Drafts that were taken in so far, repeated ones too."""
        return self._drafts

    @property
    def lost(self) -> int:
        """Messages that were lost since too many waited."""
        return self._inbox.lost

    def _collect(self) -> None:
        """Take in what has come, and for the length of the window what comes."""
        self._served = self._work.nodes(self._clock())
        self.turns.collect()
        if not self._work:
            self._take_next(_HOUSEKEEPING_S)
        elif self._stalled:
            self._take_next(_STALLED_S)
        opened = self._clock()
        self._take_all(opened)
        while (wait := self._worth_waiting(opened)) > 0:
            self._take_next(wait)
            self._take_all(opened)
        self.turns.compute()
        self._window.close(self._clock() - opened, speculating=self._drafted > 0)

    def _take_all(self, opened: float) -> None:
        """Take in what is there. Whoever sends faster than that can be read must not keep the others from their forward."""
        while self._clock() - opened < _INTAKE_S and self._take_next(0.0):
            pass
        for parked in self._grammars.compiled():
            session = self.book.get(parked.key)
            if session is not None:
                self._go_on_with(session, parked.draft, parked.at, parked.found)

    def _worth_waiting(self, opened: float) -> float:
        sessions = self._work.sessions()
        ids = len(sessions) + self._drafted
        if not sessions or ids >= self._budget:
            return 0.0
        forward_s = self._time.estimate(len(sessions), ids)
        highest = min(session.service_class for session in sessions)
        first = min(self._work.since(session) for session in sessions if session.service_class is highest)
        return self._window.remaining(opened, first, self._clock(), self._time.fixed, forward_s, highest)

    def _take_next(self, wait_s: float) -> bool:
        """Take in the next arrival, if there is one or comes in time."""
        started = self._clock()
        arrival = self._inbox.get(wait_s, self._served)
        self.stats.waited_us += int((self._clock() - started) * 1e6)
        if arrival is None:
            return False
        began = time.thread_time()
        request = arrival.read()
        if request is not None:
            try:
                self._take_in(request, arrival.at)
            except Exception:
                # Whatever one session's message brings about must not end the loop of all others.
                log.exception("a message of %s failed; its session is closed", arrival.node)
                self._forget(request.key)
        took_s = time.thread_time() - began + _RECEIVED_S  # not by the clock: what other programs take is nobody's debt
        self._inbox.charge(arrival.node, took_s, self.book.sessions_of(arrival.node))
        return True

    def _take_in(self, request: Request, at: float) -> None:
        match request.message:
            case Open():
                self._reply(request.key, self._opened(request.key, request.message, at))
            case Close():
                self._forget(request.key)
            case Draft():
                self._take_in_draft(request.key, request.message, at)
            case Fault():
                self._reply(request.key, request.message)

    def _opened(self, key: SessionKey, message: Open, now: float) -> Opened | Fault:
        answer = self._answer_open(message)
        if isinstance(answer, Opened) and self.book.get(key) is None and self._ahead_of(key.node) >= self._max_queue:
            answer = Fault(FaultCode.BUSY, "too many sessions wait for the hub", _BUSY_RETRY_MS)
        if isinstance(answer, Opened) and not self.book.open(key, now):
            answer = Fault(FaultCode.BUSY, "the hub has no room for a session", _BUSY_RETRY_MS)
        return replace(answer, session=message.session) if isinstance(answer, Fault) else answer

    def _ahead_of(self, node: str) -> int:
        """Sessions with work that one of that node would have before it."""
        return self._work.ahead_of(self.book.class_of(node))

    def _take_in_draft(self, key: SessionKey, draft: Draft, at: float) -> None:
        if self._trace is not None:
            self._trace.received(key, draft, at)
        session = self.book.hear(key, at)
        if session is None:
            detail = "the hub does not know this session (any more); re-open it"
            self._reply(key, Fault(FaultCode.UNKNOWN_SESSION, detail, round=draft.round))
            return
        self._grammars.drop(key)
        if draft.sampling is None or not draft.sampling.grammar:
            self._go_on_with(session, draft, at)
        elif (found := self._grammars.find(key, draft, at)) is not None:
            self._go_on_with(session, draft, at, found)

    def _go_on_with(
        self, session: HubSession, draft: Draft, at: float, found: CompiledGrammar | Fault | None = None
    ) -> None:
        """Take a draft in, with the grammar that was found for it, or why there is none."""
        key = session.key
        if isinstance(found, Fault):
            self._reply(key, found)
            return
        before = session.round
        self._drafts += 1
        reply = session.receive(draft, self._drafts, found)
        if reply is not None:
            self._reply(key, reply)
        if session.round == before:  # a repetition, or one that was refused
            return
        self._window.submitted(session, at)
        self._work.note(session, at)
        self._drafted += len(session.drafted)

    def _plan(self) -> Plan:
        """A forward for the sessions with work."""
        plan = self._make_plan(self._work, self._window.mean_wait)
        self._drafted = 0
        self._stalled = bool(self._work) and not plan.rows
        return plan

    def _forward(self, plan: Plan) -> Forwarded | None:
        """What the target says of the plan's rows; None when there is nothing to do or it failed."""
        rows = plan.rows
        if not rows:
            return None
        try:
            forwarded: Forwarded | None = self._run(rows)
        except RankLost:
            raise  # not for what a row holds: nothing can be computed any more
        except Exception:
            log.exception("a forward over %d rows failed; each is tried alone", len(rows))
            forwarded = self._forward_each(rows)
        if forwarded is not None:
            self.stats.count_forward(rows, forwarded.seconds, forwarded.model_seconds)
            self.stats.guiding_us += int(forwarded.guiding_seconds * 1e6)
        return forwarded

    def _forward_each(self, rows: Sequence[PlannedRow]) -> Forwarded | None:
        """The same by a forward for each row: nobody is to suffer for what another session sent. None when all of them fail."""
        try:
            return self._run_each(rows)
        except Exception:
            log.exception("forwards over one row fail too; the sessions of all %d are closed", len(rows))
            for row in rows:
                fault = Fault(FaultCode.UNKNOWN_SESSION, "the forward failed", round=row.session.round)
                self._reply(row.session.key, fault)
                self._forget(row.session.key)
            return None

    def _publish_verdicts(self, plan: Plan, forwarded: Forwarded | None) -> None:
        """Commit what the target says, and publish it."""
        if forwarded is None:
            return
        for row, drawn, surprisal in zip(plan.rows, forwarded.drawn, forwarded.surprisals, strict=True):
            if drawn is None:
                self._set_aside(row.session)
            elif row.wanted:
                try:
                    self._settle(row, drawn, surprisal, forwarded.began, plan.price)
                except Exception:
                    log.exception("a verdict for %s failed; its session is closed", row.session.key.node)
                    self._forget(row.session.key)
            else:
                row.session.fed(row.end)

    def _set_aside(self, session: HubSession) -> None:
        """The target gives no number for what the session holds: go on without what was drafted, else the session ends here.

        What was drafted may be at fault alone, and no text may depend on that. K/V of all of it are of no use.
        """
        if session.misguided and not session.drafted:
            self._end_misguided(session)
            return
        session.misguided = ""
        if session.drafted:
            session.drop_draft()
            self._memory.release(session)
            return
        log.warning("the target gives no numbers for a text of %s; its session is closed", session.key.node)
        self._memory.discard(session)
        self._reply(session.key, Fault(FaultCode.BAD_REQUEST, _NO_NUMBERS, round=session.round))
        self._forget(session.key)

    def _end_misguided(self, session: HubSession) -> None:
        """The answer's grammar can be followed no further. If others have used what was compiled, it is worth another try by a fresh one."""
        log.warning("an answer of %s can't be guided: %s", session.key.node, session.misguided)
        guide = session.guide
        is_shared = guide is not None and guide.grammar.guides > 1
        if guide is not None:
            self._grammars.forget(guide.grammar)
        code = FaultCode.UNKNOWN_SESSION if is_shared else FaultCode.BAD_REQUEST
        self._reply(session.key, Fault(code, session.misguided[:MAX_DETAIL], round=session.round))
        self._forget(session.key)

    def _wake(self) -> None:
        """Go round the loop, from any thread."""
        self._inbox.put(Arrival("", 0, self._clock(), lambda: None))

    def _settle(
        self, row: PlannedRow, drawn: Sequence[int], surprisal: Sequence[int], began: float, price: float | None
    ) -> None:
        session = row.session
        self.stats.speculated += bool(session.drafted)
        self.stats.trimmed += len(session.drafted) - (row.wanted - 1)
        verdict = replace(
            session.commit(drawn, surprisal),
            forward_us=self.stats.last_forward_us,
            queued_us=min(int(max(0.0, began - self._work.since(session)) * 1e6), MAX_MICROSECONDS),
            advised=None if price is None else advised_length(session.acceptance.rate, price, session.limits.max_draft),
        )
        self._reply(session.key, verdict)
        self._early.compare(session.key, verdict)
        self.stats.rounds += 1
        self.stats.drafted += row.wanted - 1
        self.stats.accepted += verdict.accepted
        self.stats.committed += verdict.accepted + len(verdict.ids)
        if verdict.finish is Finish.NO and not session.wants_tokens:
            self._window.expect(session, self._clock())

    def _housekeep(self, plan: Plan, forwarded: Forwarded | None) -> None:
        """Learn from the forward, share new pages, note whose work goes on from now, forget the silent."""
        now = self._clock()
        if forwarded is not None:
            self._plan_forward.learn(plan.rows, forwarded)
            for row in plan.rows:
                self._memory.offer(row.session)
                self.book.hear(row.session.key, now)  # who is served is not silent
                if row.wanted:
                    self._work.note(row.session, now)
        self.book.expire(now)

    def _reply(self, key: SessionKey, message: Opened | Verdict | Fault) -> None:
        self.stats.faults += isinstance(message, Fault)
        self._publish(key, message)

    def _forget(self, key: SessionKey) -> None:
        self._grammars.drop(key)
        self.book.close(key)
