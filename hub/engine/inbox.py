"""Messages that the engine has not read yet: the highest class first, in order within a node, and nodes of a class take turns."""

from __future__ import annotations

import threading
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from itertools import chain

from hub.engine.shares import NodeShares
from hub.sessions.service_classes import ServiceClass, always_normal
from hub.sessions.session import SessionKey
from shared.messages import Close, Draft, Fault, Open

_MOST = 8_000  # messages that wait; the MQTT client has room for a fault in answer to each
_MOST_OF_NODE = 1_000  # messages of one node
_MOST_BYTES = 64 * 2**20  # payload bytes that wait
_MOST_BYTES_OF_NODE = 4 * 2**20  # payload bytes of one node: some of the longest prompts


@dataclass(frozen=True)
class Request:
    """What a node wants of a session. A Fault is the answer to a message that was refused at once."""

    key: SessionKey
    message: Open | Draft | Close | Fault


@dataclass(frozen=True)
class Arrival:
    """A message of a node that nobody has read yet, and when it came (`time.monotonic`)."""

    node: str
    size: int  # payload bytes
    at: float
    read: Callable[[], Request | None]  # None for what is no message

    @classmethod
    def of(cls, key: SessionKey, message: Open | Draft | Close, at: float) -> Arrival:
        """A message that has been read."""
        request = Request(key, message)
        return cls(key.node, 0, at, lambda: request)


class Inbox:
    """Filled by other threads, emptied by the engine's. A node that sends without end delays its own messages alone."""

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        class_of: Callable[[str], ServiceClass] = always_normal,
    ) -> None:
        self.lost = 0  # messages that had no place, or gave theirs up
        self._clock = clock
        self._changed = threading.Condition()
        self._class_of = class_of
        self._of_class: dict[ServiceClass, OrderedDict[str, deque[Arrival]]] = {
            each: OrderedDict() for each in ServiceClass
        }  # of each node, that whose turn it is first; the highest class first
        self._count = 0
        self._bytes: Counter[str] = Counter()
        self._all_bytes = 0
        self._shares = NodeShares()
        self._served: Collection[str] = ()

    def __len__(self) -> int:
        return self._count

    def put(self, arrival: Arrival) -> bool:
        """Add a message. False when too many wait and one was dropped: this, or the last of the node that has most."""
        with self._changed:
            service_class = self._class_of(arrival.node)
            of_node = self._of_class[service_class]
            waiting = of_node.get(arrival.node, ())
            if not self.has_room(arrival.node, arrival.size) or self._all_bytes + arrival.size > _MOST_BYTES:
                self.lost += 1
                return False
            is_full = self._count >= _MOST
            if is_full:
                self.lost += 1
                lowest = max(each for each, nodes in self._of_class.items() if nodes)
                longest = max(self._of_class[lowest].values(), key=len)
                if service_class > lowest or (service_class == lowest and len(waiting) >= len(longest) - 1):
                    return False
                last = longest.pop()
                self._count_out(last)
                if not longest:
                    del self._of_class[lowest][last.node]
            of_node.setdefault(arrival.node, deque()).append(arrival)
            self._count += 1
            self._bytes[arrival.node] += arrival.size
            self._all_bytes += arrival.size
            self._changed.notify()
            return not is_full

    def has_room(self, node: str, size: int) -> bool:
        """Whether a message of that many bytes would find its place, as far as its node is concerned. To be asked by any thread."""
        waiting = self._of_class[self._class_of(node)].get(node)
        return waiting is None or (len(waiting) < _MOST_OF_NODE and self._bytes[node] + size <= _MOST_BYTES_OF_NODE)

    def get(self, wait_s: float, served: Collection[str] = ()) -> Arrival | None:
        """The next message, or None when none comes within that time.

        `served` are the nodes that had work of late. Where there are others among them, a node that has had more than its
        share of the engine's time is passed over.
        """
        with self._changed:
            self._served = served
            deadline = time.monotonic() + wait_s
            while (node := self._next_node()) is None:
                left_s = deadline - time.monotonic()
                if left_s <= 0:
                    return None
                self._changed.wait(min([left_s, *map(self._deferred_s, self._nodes())]))
            of_node = self._of_class[self._class_of(node)]
            arrival = of_node[node].popleft()
            self._count_out(arrival)
            if of_node[node]:
                of_node.move_to_end(node)
            else:
                del of_node[node]
            return arrival

    def charge(self, node: str, seconds: float, sessions: int) -> None:
        """A message of the node, which has that many sessions, took the engine so long."""
        with self._changed:
            self._shares.charge(node, seconds, sessions, self._clock())

    def _next_node(self) -> str | None:
        return next((node for node in self._nodes() if not self._deferred_s(node)), None)

    def _nodes(self) -> Iterator[str]:
        """The nodes with messages, in the order in which they are read."""
        return chain.from_iterable(self._of_class.values())

    def _deferred_s(self, node: str) -> float:
        """Seconds for which the node's messages are not read."""
        others_are_served = len(self._served) > (node in self._served)
        return self._shares.wait_s(node, self._clock()) if others_are_served else 0.0

    def _count_out(self, arrival: Arrival) -> None:
        self._count -= 1
        self._all_bytes -= arrival.size
        self._bytes[arrival.node] -= arrival.size
        if not self._bytes[arrival.node]:
            del self._bytes[arrival.node]
