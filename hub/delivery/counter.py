"""Who waits for which piece: few of each node, few nodes, and nodes take turns."""

from __future__ import annotations

import threading
from collections import OrderedDict

from shared.messages import Fetch

_MOST_NODES = 64  # that wait at once; who comes then is not heard, and asks again
_MOST_OF_NODE = 4  # pieces that a node waits for: ours ask for one at a time


class Counter:
    """Requests that wait. The MQTT client's thread puts them, the delivering one takes them."""

    def __init__(self) -> None:
        self.refused = 0  # requests that found no place
        self._waiting: OrderedDict[str, list[Fetch]] = OrderedDict()  # by node, the next one's first
        self._changed = threading.Condition()

    def __len__(self) -> int:
        with self._changed:
            return sum(map(len, self._waiting.values()))

    def has_room(self, node: str) -> bool:
        """Whether a request of the node would get a place."""
        with self._changed:
            return self._has_room(node)

    def put(self, node: str, fetch: Fetch) -> None:
        """Let a request wait, if there is room and it does not wait already."""
        with self._changed:
            if fetch in self._waiting.get(node, ()):
                return
            if not self._has_room(node):
                self.refused += 1
                return
            self._waiting.setdefault(node, []).append(fetch)
            self._changed.notify()

    def take(self, wait_s: float) -> tuple[str, Fetch] | None:
        """The oldest request of the node whose turn it is; None when there is none in time."""
        with self._changed:
            if not self._waiting and not self._changed.wait(wait_s):
                return None
            if not self._waiting:
                return None
            node, fetches = self._waiting.popitem(last=False)
            first, *rest = fetches
            if rest:
                self._waiting[node] = rest
            return node, first

    def _has_room(self, node: str) -> bool:
        if node in self._waiting:
            return len(self._waiting[node]) < _MOST_OF_NODE
        return len(self._waiting) < _MOST_NODES
