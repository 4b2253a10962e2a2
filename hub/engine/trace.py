"""The hub's side of a trace: when a draft came, when forwards were planned and ran, when what was said of them left."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from hub.engine.forward import Forwarded
from hub.engine.scheduler import Plan, PlannedRow
from hub.engine.work import Work
from hub.sessions.session import SessionKey
from shared.messages import AnyMessage, Draft
from shared.trace_file import SESSION_BYTES, Event, TraceFile

T = TypeVar("T")


class EngineTrace:
    """Stands around steps of the engine, which then do what they do without it. All of it is called on the engine's thread."""

    def __init__(self, file: TraceFile) -> None:
        self._note = file.note

    def received(self, key: SessionKey, draft: Draft, at: float) -> None:
        """A draft that came at `at` (`time.monotonic`) is taken in."""
        came = int(at * 1e9)
        self._note(Event.RECEIVED, _short(key), draft.round, came, time.monotonic_ns(), len(draft.tokens))

    def planning(self, plan: Callable[[Work, float], Plan]) -> Callable[[Work, float], Plan]:
        """`plan`, traced. Plans without a row are left out."""

        def traced(work: Work, idle_s: float) -> Plan:
            began = time.monotonic_ns()
            planned = plan(work, idle_s)
            if planned.rows:
                self._note(Event.PLANNED, began, time.monotonic_ns(), len(planned.rows))
            return planned

        return traced

    def computing(
        self, run: Callable[[Sequence[PlannedRow]], Forwarded]
    ) -> Callable[[Sequence[PlannedRow]], Forwarded]:
        """`run`, traced. A forward that fails took its time too."""

        def traced(rows: Sequence[PlannedRow]) -> Forwarded:
            began = time.monotonic_ns()
            try:
                return run(rows)
            finally:
                ended = time.monotonic_ns()
                fed = [(_short(row.session.key), row.session.round, len(row.ids), row.wanted) for row in rows]
                self._note(Event.FORWARD, began, ended, fed)

        return traced

    def publishing(self, publish: Callable[[SessionKey, AnyMessage], None]) -> Callable[[SessionKey, AnyMessage], None]:
        """`publish`, traced."""

        def traced(key: SessionKey, message: AnyMessage) -> None:
            began = time.monotonic_ns()
            publish(key, message)
            ended = time.monotonic_ns()
            number, base = getattr(message, "round", 0), getattr(message, "base", 0)
            ids = getattr(message, "accepted", 0) + len(getattr(message, "ids", ()))
            self._note(Event.PUBLISHED, _short(key), type(message).__name__, number, base, began, ended, ids)

        return traced


def _short(key: SessionKey) -> bytes:
    return key.id[:SESSION_BYTES]
