"""How much of the engine's time each node has taken of late, so that one that sends without end waits for the others."""

from __future__ import annotations

_SHARE = 0.1  # seconds of reading that a node may take in each second, while other nodes have work
_GRACE_S = 0.002  # seconds that it may have taken beyond its share
_KEPT = 1024


class NodeShares:
    """A debt in seconds for each node: reading its messages adds to it, time pays it off."""

    def __init__(self) -> None:
        self._debts: dict[str, tuple[float, float]] = {}  # seconds, and when they were counted
        self._most = _KEPT  # nodes that are kept until those without a debt are dropped

    def charge(self, node: str, seconds: float, now: float) -> None:
        """Reading a message of the node took so long."""
        self._debts[node] = (self._debt(node, now) + seconds, now)
        if len(self._debts) > self._most:
            self._debts = {node: debt for node, debt in self._debts.items() if self._debt(node, now) > 0.0}
            self._most = max(_KEPT, 2 * len(self._debts))

    def exceeds(self, node: str, now: float) -> bool:
        """Whether the node has had more than its share."""
        return self._debt(node, now) > _GRACE_S

    def _debt(self, node: str, now: float) -> float:
        seconds, at = self._debts.get(node, (0.0, now))
        return max(0.0, seconds - _SHARE * (now - at))
