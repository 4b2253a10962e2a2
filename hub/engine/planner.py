"""The plan of a forward all of whose rows have their pages."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from hub.engine.scheduler import Plan, PlannedRow, Scheduler
from hub.engine.stats import HubStats
from hub.engine.work import Work
from hub.sessions.book import SessionBook
from hub.sessions.memory import KVMemory
from hub.sessions.session import HubSession


class Planner:
    """Brings together who wants a place in the forward (the scheduler) and who can have pages for it (the book)."""

    def __init__(
        self, scheduler: Scheduler, book: SessionBook, memory: KVMemory, stats: HubStats, clock: Callable[[], float]
    ) -> None:
        self._scheduler = scheduler
        self._book = book
        self._memory = memory
        self._stats = stats
        self._clock = clock

    def plan(self, work: Work, idle_s: float) -> Plan:
        """A forward for the sessions with work; those with the oldest answers get pages before others.

        `idle_s` is the time in seconds that forwards of late have waited for drafts.
        """
        self._adopt_pages(work)
        sessions = work.sessions()
        self._scheduler.admit(sessions)
        plan = self._plan_with_pages(sessions, idle_s)
        self._scheduler.charge(plan.rows)
        return plan

    def _adopt_pages(self, work: Work) -> None:
        """Let sessions with prompts to feed take over what others have computed of them."""
        for session in work.sessions():
            if session.unfed > 1:
                self._stats.shared_tokens += self._memory.adopt(session)

    def _plan_with_pages(self, sessions: Sequence[HubSession], idle_s: float) -> Plan:
        """A plan for some of these sessions, all of whose rows have their pages.

        A session without pages must not hold a place in the forward that others could use, nor overtake one that goes before it.
        The plan is made anew without such sessions, and without those behind them that had no place in it.
        """
        while True:
            plan = self._scheduler.plan(sessions, self._memory.keys, idle_s, self._book.has_above)
            served, refused = self._take_pages(plan.rows)
            if not refused:
                return plan
            first = min(session.precedence for session in refused)
            sessions = [s for s in sessions if s not in refused and (s.precedence < first or s in served)]

    def _take_pages(self, rows: Sequence[PlannedRow]) -> tuple[set[HubSession], set[HubSession]]:
        """Take pages for the rows, the highest class and its oldest answers first. Returns the sessions that have theirs, and the others."""
        givers = self._book.givers(self._clock())
        asking = {row.session for row in rows}
        served: set[HubSession] = set()
        refused: set[HubSession] = set()
        for row in sorted(rows, key=lambda row: row.session.precedence):
            if row.session in refused:  # one that goes before took its pages: its K/V is gone, and the row is void
                continue
            preempted = self._book.take_pages(row.session, row.end, served, givers)
            if preempted is None:
                refused.add(row.session)
            else:
                served.add(row.session)
                refused |= asking.intersection(preempted)
        return served, refused
