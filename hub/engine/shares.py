"""How much of the engine's time each node has taken of late, so that one that sends without end waits for the others."""

from __future__ import annotations

from dataclasses import dataclass

_SHARE = 0.03  # seconds of reading that a node may take in each second, while other nodes are served
_SHARE_OF_SESSION = 0.001  # and so many more for each of its sessions
_GRACE_S = 0.002  # seconds that it may have taken beyond its share
_KEPT = 1024  # nodes that are kept until those without a debt are dropped, at least


@dataclass(frozen=True)
class _Debt:
    seconds: float
    share: float  # by which it is paid off
    at: float  # when it was counted

    def left(self, now: float) -> float:
        return max(0.0, self.seconds - self.share * (now - self.at))


_NONE = _Debt(0.0, 1.0, 0.0)


class NodeShares:
    """A debt in seconds for each node: reading its messages adds to it, time pays it off."""

    def __init__(self) -> None:
        self._debts: dict[str, _Debt] = {}
        self._most = _KEPT

    def charge(self, node: str, seconds: float, sessions: int, now: float) -> None:
        """Reading a message of the node, which has that many sessions, took so long."""
        share = _SHARE + _SHARE_OF_SESSION * sessions
        self._debts[node] = _Debt(self._debts.get(node, _NONE).left(now) + seconds, share, now)
        if len(self._debts) > self._most:
            self._debts = {node: debt for node, debt in self._debts.items() if debt.left(now) > 0.0}
            self._most = max(_KEPT, 2 * len(self._debts))

    def wait_s(self, node: str, now: float) -> float:
        """Seconds until the node has no more than its share."""
        debt = self._debts.get(node, _NONE)
        return max(0.0, debt.left(now) - _GRACE_S) / debt.share
