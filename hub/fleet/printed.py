"""The fleet once, for scripts and pipes: as plain tables, or as a JSON object."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from hub.fleet.columns import HUB_COLUMNS, NODE_COLUMNS, Column, V
from hub.fleet.fleet import FleetView
from hub.fleet.hubs import HubView
from hub.fleet.nodes import NodeView
from hub.fleet.order import Sort, ordered
from hub.fleet.screen import summary
from shared.streams import put_json, put_line
from shared.table import put_table


def print_json(view: FleetView, doubt: str) -> None:
    """All that is known in a line; figures to three places. `doubt` is why nobody else may be seen."""
    put_json(
        {
            "hubs": list(map(as_json, view.hubs)),
            "nodes": list(map(as_json, view.nodes)),
            "is_whole": view.is_whole,
            "doubt": doubt,
        }
    )


def print_tables(view: FleetView, sort: Sort) -> None:
    """All columns and all rows."""
    put_line(summary(view))
    _print(HUB_COLUMNS, ordered(view.hubs, sort))
    _print(NODE_COLUMNS, ordered(view.nodes, sort))


def _print(columns: Sequence[Column[V]], views: Sequence[V]) -> None:
    if views:
        put_line("")
        put_table([column.title for column in columns], [[column.cell(view) for column in columns] for view in views])


def as_json(view: HubView | NodeView) -> dict[str, object]:
    """All that is known of it; figures to three places."""
    facts = {**asdict(view), "state": view.state.value}
    return {key: round(value, 3) if isinstance(value, float) else value for key, value in facts.items()}
