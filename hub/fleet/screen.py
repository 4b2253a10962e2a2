"""The fleet as a page of text: as wide and as high as the terminal, with what matters most of what does not fit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rich.cells import cell_len
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from hub.fleet.columns import HUB_COLUMNS, NODE_COLUMNS, Column, V, figure
from hub.fleet.fleet import FleetView
from hub.fleet.hubs import HubView
from hub.fleet.nodes import NodeView
from hub.fleet.order import Sort, ordered
from hub.fleet.presence import State

_GAP = 2  # spaces between two columns
_WIDEST = 26  # of a cell
_LINES = 7  # that are not rows: the summary, the heads of both tables, the keys and three empty ones
_KEYS = "q leaves; first: l the busiest, n by name, s the silent"


def page(view: FleetView, width: int, height: int, sort: Sort, notes: Sequence[str] = ()) -> Group:
    """The page: a summary, `notes` of what is wrong, both tables and the keys, in `width` columns and `height` lines."""
    parts: list[RenderableType] = [_line(summary(view), "bold")]
    parts += [Text(note, "red") for note in notes]
    if view.hubs or view.nodes:
        room = height - _LINES - sum(2 + cell_len(note) // width for note in notes)
        hubs, nodes = _shares(len(view.hubs), len(view.nodes), room)
        parts += ["", *_table(HUB_COLUMNS, ordered(view.hubs, sort), width, hubs)]
        parts += ["", *_table(NODE_COLUMNS, ordered(view.nodes, sort), width, nodes)]
    return Group(*parts, "", _line(_KEYS, "dim"))


def summary(view: FleetView) -> str:
    """All of it in a line."""
    tokens_per_s = sum(hub.tokens_per_s or 0.0 for hub in view.hubs)
    told = f"hubs: {_counted(view.hubs)}; nodes: {_counted(view.nodes)}; {figure(tokens_per_s)} tok/s"
    return told if view.is_whole else f"{told}; there are more than can be shown"


def _counted(views: Sequence[HubView | NodeView]) -> str:
    states = Counter(view.state for view in views)
    return ", ".join(f"{states[state]} {state.value}" for state in State if states[state]) or "none"


def _shares(hubs: int, nodes: int, room: int) -> tuple[int, int]:
    """The lines that the rows of each table get: half of them, or more where the other needs less."""
    for_hubs = max(1, min(hubs, max(room // 2, room - nodes)))
    return for_hubs, max(1, min(nodes, room - for_hubs))


def _table(columns: Sequence[Column[V]], views: Sequence[V], width: int, lines: int) -> list[RenderableType]:
    """The table in so many lines below its head."""
    if not views:
        return [_line(f"no {columns[0].title} was heard of", "dim")]
    shown = views if len(views) <= lines else views[: max(0, lines - 1)]
    table = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="dim")
    kept = _fitting(columns, shown, width)
    for column in kept:
        table.add_column(column.title, justify="right" if column.is_number else "left", no_wrap=True, max_width=_WIDEST)
    for view in shown:
        # A Text is shown as it is: what looks like markup is none.
        table.add_row(*(Text(column.cell(view), column.style(view)) for column in kept))
    more = len(views) - len(shown)
    return [table, *([_line(f"… and {more} more", "dim")] if more else [])]


def _fitting(columns: Sequence[Column[V]], views: Sequence[V], width: int) -> list[Column[V]]:
    """The columns that fit, those of least worth left out."""
    widths = {
        column.title: min(_WIDEST, max(cell_len(each) for each in (column.title, *map(column.cell, views))))
        for column in columns
    }
    kept = list(columns)
    while len(kept) > 1 and sum(widths[column.title] + _GAP for column in kept) - _GAP > width:
        kept.remove(min(kept, key=lambda column: column.worth))
    return kept


def _line(text: str, style: str) -> Text:
    return Text(text, style, no_wrap=True, overflow="ellipsis")
