"""Rounds, put together from both sides, and the parts that the time of each falls into.

A round with drafted tokens begins where the node has committed the one before; the first of an answer, and one that only lets the hub go
on streaming, begin when they are sent. A round ends when the node has committed its first verdict. Its parts follow each other without a gap.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum

from tools.trace.clocks import Alignment
from tools.trace.records import (
    Committed,
    Drafted,
    Forward,
    Heard,
    Planned,
    Published,
    Received,
    Sent,
    Trace,
)


class Part(Enum):
    """A part of a round, and what it lasts from and to."""

    DRAFTING = "drafting"  # pieces of drafting from the commit before to the sending
    SENDING = "sending"  # all else until the draft is given to MQTT: the text is shown, the draft is made
    UP = "network up"  # until the hub's MQTT client has it: encoding, both connections, the broker
    WINDOW = "window"  # until the plan of its forward is begun: it waits for its turn, and for other sessions' drafts
    PLAN = "plan"  # until that forward
    FORWARD = "forward"  # the target computes; of a prompt in chunks all of its forwards
    PUBLISH = "publish"  # until the verdict is given to MQTT: it is made, and those of other sessions may go first
    DOWN = "network down"  # until the node's MQTT client has it
    COMMIT = "commit"  # until the node has taken it in; a piece of drafting that runs is ended first


class Kind(Enum):
    """What a round is for."""

    DRAFTED = "drafted tokens are verified"
    PROMPT = "an answer is begun"
    CREDIT = "the hub goes on alone"


@dataclass(frozen=True)
class Round:
    """One round that was followed on both sides. Times are nanoseconds; those of records are as their side's clock has them."""

    node: int  # the place of its trace
    kind: Kind
    began: int  # by the node's clock
    sent: Sent
    heard: Heard
    committed: Committed
    forward: Forward | None  # that its verdict comes from; none where the hub says again what it has committed before
    parts: dict[Part, int]  # nanoseconds
    beside: int  # nanoseconds of drafting while it was under way

    @property
    def length(self) -> int:
        """Nanoseconds from its begin to its end, by the node's clock alone."""
        return self.committed.ended - self.began


@dataclass
class HubSide:
    """What the hub's trace has, by what it is asked for. Places are those of records in the file."""

    received: dict[tuple[bytes, int], tuple[int, Received]] = field(default_factory=dict)
    published: dict[tuple[bytes, int, int], tuple[int, Published]] = field(default_factory=dict)  # verdicts
    forwards: dict[bytes, list[tuple[int, Planned, Forward]]] = field(default_factory=lambda: defaultdict(list))

    @classmethod
    def of(cls, hub: Trace) -> HubSide:
        """The first record of each kind counts: what comes again was sent again."""
        side, planned = cls(), None
        for place, record in enumerate(hub.records):
            match record:
                case Received():
                    side.received.setdefault((record.session, record.round), (place, record))
                case Planned():
                    planned = record
                case Forward() if planned is not None:
                    for row in record.rows:
                        side.forwards[row.session].append((place, planned, record))
                case Published(message="Verdict"):
                    side.published.setdefault((record.session, record.round, record.base), (place, record))
        return side

    def between(self, session: bytes, begin: int, end: int) -> Sequence[tuple[int, Planned, Forward]]:
        """The session's forwards between two places."""
        found = self.forwards.get(session, [])
        return found[bisect_left(found, begin, key=_place) : bisect_left(found, end, key=_place)]


def _place(forward: tuple[int, Planned, Forward]) -> int:
    return forward[0]


@dataclass
class _Session:
    """What the node's trace has of a session so far."""

    free: int | None = None  # when it committed last
    sent: dict[int, tuple[Sent, int, int]] = field(default_factory=dict)  # with a round's begin, and its drafting
    heard: dict[tuple[int, int], Heard] = field(default_factory=dict)
    pieces: list[Drafted] = field(default_factory=list)

    def drafting(self, begin: int, end: int) -> int:
        """Nanoseconds of drafting between two moments."""
        return sum(max(0, min(each.ended, end) - max(each.began, begin)) for each in self.pieces)

    def send(self, sent: Sent) -> None:
        """A draft left; where it is a repetition the first counts."""
        if sent.round not in self.sent:
            began = self.free if sent.tokens and self.free is not None else sent.began
            self.sent[sent.round] = sent, began, self.drafting(began, sent.began)

    def commit(self, committed: Committed) -> None:
        """What was drafted before is no part of a later round."""
        self.free = committed.ended
        self.pieces = []


def rounds_of(nodes: Sequence[Trace], hub: Trace, clocks: Sequence[Alignment]) -> list[Round]:
    """The rounds of all nodes that have their verdict, in the order of their end on each node."""
    side = HubSide.of(hub)
    return [
        each
        for number, (node, clock) in enumerate(zip(nodes, clocks, strict=True))
        for each in _of_node(number, node, side, clock.offset)
    ]


def _of_node(number: int, node: Trace, hub: HubSide, offset: int) -> list[Round]:
    sessions: dict[bytes, _Session] = defaultdict(_Session)
    found: list[Round] = []
    for record in node.records:
        session = sessions[record.session] if not isinstance(record, Planned | Forward) else _Session()
        match record:
            case Drafted():
                session.pieces.append(record)
            case Sent():
                session.send(record)
            case Heard(message="Verdict"):
                session.heard.setdefault((record.round, record.base), record)
            case Committed():
                known = session.sent.pop(record.round, None)
                heard = session.heard.get((record.round, record.base))
                if known is not None and heard is not None:
                    made = _round(number, session, known, heard, record, hub, offset)
                    found += [] if made is None else [made]
                session.commit(record)
    return found


def _round(
    number: int,
    session: _Session,
    known: tuple[Sent, int, int],
    heard: Heard,
    committed: Committed,
    hub: HubSide,
    offset: int,
) -> Round | None:
    """The round that was sent first as `known` says. None where the hub's trace has not all of it."""
    sent, began, drafting = known
    came = hub.received.get((sent.session, sent.round))
    left = hub.published.get((sent.session, sent.round, committed.base))
    if came is None or left is None:
        return None
    received, published = came[1], left[1]
    forwards = hub.between(sent.session, came[0], left[0])
    computed = forwards[-1][2].ended if forwards else received.taken
    planning = sum(forward.began - planned.began for _, planned, forward in forwards)
    computing = sum(forward.ended - forward.began for _, _, forward in forwards)
    parts = {
        Part.DRAFTING: drafting,
        Part.SENDING: sent.began - began - drafting,
        Part.UP: received.came - offset - sent.began,
        Part.WINDOW: computed - received.came - planning - computing,
        Part.PLAN: planning,
        Part.FORWARD: computing,
        Part.PUBLISH: published.began - computed,
        Part.DOWN: heard.came + offset - published.began,
        Part.COMMIT: committed.ended - heard.came,
    }
    kind = Kind.DRAFTED if sent.tokens else Kind.PROMPT if sent.appended else Kind.CREDIT
    beside = session.drafting(sent.ended, committed.ended)
    forward = forwards[-1][2] if forwards else None
    return Round(number, kind, began, sent, heard, committed, forward, parts, beside)
