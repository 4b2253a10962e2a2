"""A timeline for Perfetto or chrome://tracing, in Chrome's JSON: a process for each program, a thread for each session and the engine.

An arrow leads from each draft over its forward to its verdict. All times are by the hub's clock, in microseconds from the first of them on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from tools.trace.clocks import Alignment
from tools.trace.records import Committed, Drafted, Forward, Heard, Planned, Published, Received, Sent, Trace
from tools.trace.rounds import Round

_HUB = 1  # of processes; nodes come behind it
_ENGINE = 0  # of the hub's threads; sessions have the same number on both sides
JSON = dict[str, Any]


@dataclass
class _Numbers:
    """Sessions by their number, in the order in which they come."""

    of: dict[bytes, int] = field(default_factory=dict)

    def __getitem__(self, session: bytes) -> int:
        return self.of.setdefault(session, len(self.of) + 1)


def timeline(traces: Sequence[Trace], clocks: Sequence[Alignment], rounds: Sequence[Round]) -> JSON:
    """The whole file; `traces` are those of the nodes and behind them the hub's."""
    *nodes, hub = traces
    sessions = _Numbers()
    events = list(_hub(hub, sessions))
    for number, (node, clock) in enumerate(zip(nodes, clocks, strict=True)):
        events += _node(node, _HUB + 1 + number, sessions, clock.offset)
    for number, each in enumerate(rounds):
        events += _round(number, each, sessions[each.sent.session], clocks[each.node].offset)
    first = min(event["ts"] for event in events)
    for event in events:
        event["ts"] = (event["ts"] - first) / 1e3
    events += list(_names([hub, *nodes], events, sessions))
    return {
        "traceEvents": events,
        "displayTimeUnit": "ms",
        "otherData": {
            node.head.name: f"offset {clock.offset} ns, uncertainty {clock.uncertainty} ns"
            for node, clock in zip(nodes, clocks, strict=True)
        },
    }


def _names(programs: Sequence[Trace], events: Sequence[JSON], sessions: _Numbers) -> Iterator[JSON]:
    """What processes are called, and the threads of `events`."""
    threads = sorted({(event["pid"], event["tid"]) for event in events})
    for process, program in enumerate(programs, _HUB):
        name = f"{program.head.side} {program.head.name}"
        yield {"ph": "M", "name": "process_name", "pid": process, "tid": 0, "args": {"name": name}}
    called = {number: f"session {number} ({session.hex()})" for session, number in sessions.of.items()}
    for process, thread in threads:
        name = called.get(thread, "engine")
        yield {"ph": "M", "name": "thread_name", "pid": process, "tid": thread, "args": {"name": name}}


def _slice(name: str, process: int, thread: int, began: int, ended: int, **told: Any) -> JSON:
    event = {"ph": "X", "name": name, "cat": "sled", "pid": process, "tid": thread, "ts": began, "args": told}
    return event | {"dur": max(0, ended - began) / 1e3}


def _moment(name: str, process: int, thread: int, at: int) -> JSON:
    return {"ph": "i", "s": "t", "name": name, "cat": "sled", "pid": process, "tid": thread, "ts": at}


def _node(trace: Trace, process: int, sessions: _Numbers, offset: int) -> Iterator[JSON]:
    taken: dict[tuple[bytes, int, int], int] = {}  # when a verdict was taken out of the queue
    for record in trace.records:
        if isinstance(record, Planned | Forward | Received | Published):
            continue
        thread = sessions[record.session]
        match record:
            case Drafted():
                yield _slice("draft", process, thread, record.began + offset, record.ended + offset)
            case Sent():
                told = {"tokens": record.tokens, "appended": record.appended, "base": record.base}
                ended = record.ended + offset
                yield _slice(f"send {record.round}", process, thread, record.began + offset, ended, **told)
            case Heard(message="Verdict"):
                taken[record.session, record.round, record.base] = record.taken
            case Heard():
                yield _moment(f"{record.message} {record.round}", process, thread, record.taken + offset)
            case Committed():
                began = taken.get((record.session, record.round, record.base), record.ended) + offset
                ended = record.ended + offset
                yield _slice(f"commit {record.round}", process, thread, began, ended, ids=record.ids)


def _hub(trace: Trace, sessions: _Numbers) -> Iterator[JSON]:
    since: dict[bytes, int] = {}  # from when on a session waits
    over: dict[bytes, int] = {}  # up to when its thread is drawn
    planned = None
    for record in trace.records:
        match record:
            case Received():
                since.setdefault(record.session, max(record.came, over.get(record.session, 0)))
            case Planned():
                planned = record
                yield _slice("plan", _HUB, _ENGINE, record.began, record.ended, rows=record.rows)
            case Forward():
                ids = sum(row.ids for row in record.rows)
                yield _slice("forward", _HUB, _ENGINE, record.began, record.ended, rows=len(record.rows), ids=ids)
                for row in record.rows:
                    thread = sessions[row.session]
                    if row.session in since and planned is not None:
                        yield _slice("window", _HUB, thread, since[row.session], planned.began)
                        yield _slice("plan", _HUB, thread, planned.began, record.began)
                    yield _slice(f"forward {row.round}", _HUB, thread, record.began, record.ended, ids=row.ids)
                    since[row.session] = over[row.session] = record.ended
            case Published(message="Verdict"):
                name, thread = f"publish {record.round}", sessions[record.session]
                yield _slice(name, _HUB, _ENGINE, record.began, record.ended, ids=record.ids)
                yield _slice(name, _HUB, thread, since.pop(record.session, record.began), record.ended, ids=record.ids)
                over[record.session] = record.ended
            case Published():
                yield _moment(f"{record.message} {record.round}", _HUB, sessions[record.session], record.began)


def _round(number: int, found: Round, thread: int, offset: int) -> Iterator[JSON]:
    """Its bar, and the arrow from its draft to its verdict."""
    process = _HUB + 1 + found.node
    bar = {"cat": "round", "name": f"round {found.sent.round}", "id": number, "pid": process, "tid": thread}
    parts = {part.value: length / 1e6 for part, length in found.parts.items()}
    yield bar | {"ph": "b", "ts": found.began + offset, "args": {"ms": parts, "for": found.kind.value}}
    yield bar | {"ph": "e", "ts": found.committed.ended + offset}
    arrow = {"cat": "flow", "name": "round", "id": number}
    yield arrow | {"ph": "s", "pid": process, "tid": thread, "ts": found.sent.began + offset}
    if found.forward is not None:
        yield arrow | {"ph": "t", "pid": _HUB, "tid": thread, "ts": found.forward.began}
    yield arrow | {"ph": "f", "bp": "e", "pid": process, "tid": thread, "ts": found.heard.taken + offset}
