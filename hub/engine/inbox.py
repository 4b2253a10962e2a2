"""Messages that the engine has not read yet: in order within a node, and nodes take turns."""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from dataclasses import dataclass

from hub.sessions.session import SessionKey
from shared.messages import Close, Draft, Fault, Open

_MOST = 8_000  # messages that wait; the MQTT client has room for a fault in answer to each
_MOST_OF_NODE = 1_000  # messages of one node


@dataclass(frozen=True)
class Arrival:
    """A valid message of a node, and when it came (`time.monotonic`)."""

    key: SessionKey
    message: Open | Draft | Close | Fault  # a Fault is the answer to a message that was refused at once
    at: float


class Inbox:
    """Filled by other threads, emptied by the engine's. A node that sends without end delays its own messages alone."""

    def __init__(self) -> None:
        self.lost = 0  # messages that had no place, or gave theirs up
        self._changed = threading.Condition()
        self._of_node: OrderedDict[str, deque[Arrival]] = OrderedDict()  # the node whose turn it is first
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def put(self, arrival: Arrival) -> bool:
        """Add a message. False when too many wait and one was dropped: this, or the last of the node that has most."""
        with self._changed:
            waiting = self._of_node.get(arrival.key.node, ())
            if len(waiting) >= _MOST_OF_NODE:
                self.lost += 1
                return False
            is_full = self._count >= _MOST
            if is_full:
                self.lost += 1
                longest = max(self._of_node.values(), key=len)
                if len(waiting) >= len(longest) - 1:
                    return False
                longest.pop()
                self._count -= 1
            self._of_node.setdefault(arrival.key.node, deque()).append(arrival)
            self._count += 1
            self._changed.notify()
            return not is_full

    def get(self, wait_s: float) -> Arrival | None:
        """The next message, or None when none comes within that time."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._count, max(0.0, wait_s)):
                return None
            node, waiting = next(iter(self._of_node.items()))
            arrival = waiting.popleft()
            self._count -= 1
            if waiting:
                self._of_node.move_to_end(node)
            else:
                del self._of_node[node]
            return arrival
