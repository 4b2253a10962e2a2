"""The last ten minutes of the figures that the page draws as lines."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping

from hub.fleet.fleet import FleetView
from hub.fleet.hubs import HubView
from hub.fleet.nodes import NodeView
from hub.fleet.order import Sort, ordered

STEP_S = 2.0  # between two points
_MOST_POINTS = 300
_MOST_LINES = 8  # of hubs, and of nodes: of the busiest
_RECENT_S = 30.0  # for which a node's last answer is worth drawing

Point = Mapping[str, object]

_OF_HUB: Mapping[str, Callable[[HubView], float | None]] = {
    "tokens_per_s": lambda hub: hub.tokens_per_s,
    "acceptance": lambda hub: hub.acceptance,
    "rows_per_forward": lambda hub: hub.rows_per_forward,
    "in_forwards": lambda hub: hub.in_forwards,
}
_OF_NODE: Mapping[str, Callable[[NodeView], float | None]] = {
    "ms_per_token": lambda node: 1e3 / node.tokens_per_s if node.tokens_per_s else None,
    "rtt_ms": lambda node: node.rtt_ms,
    "first_token_ms": lambda node: node.first_token_ms,
    "acceptance": lambda node: node.acceptance,
}


class History:
    """Points, each with its number: a page that has missed one sees a gap."""

    def __init__(self) -> None:
        self._points: deque[Point] = deque(maxlen=_MOST_POINTS)
        self._number = 0

    def add(self, view: FleetView) -> Point:
        """The next point."""
        hubs, nodes = ordered(view.hubs, Sort.LOAD)[:_MOST_LINES], ordered(view.nodes, Sort.LOAD)[:_MOST_LINES]
        answered = [node for node in nodes if node.answered_s is not None and node.answered_s < _RECENT_S]
        point = {
            "number": self._number,
            "hubs": {hub.name: [_figure(of(hub)) for of in _OF_HUB.values()] for hub in hubs},
            "nodes": {node.name: [_figure(of(node)) for of in _OF_NODE.values()] for node in answered},
        }
        self._number += 1
        self._points.append(point)
        return point

    @property
    def told(self) -> dict[str, object]:
        """All of it, and what the numbers of a point are."""
        return {
            "step_s": STEP_S,
            "most": _MOST_POINTS,
            "of_hub": list(_OF_HUB),
            "of_node": list(_OF_NODE),
            "points": list(self._points),
        }


def _figure(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
