"""How a benchmark shows its figures."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

_console = Console(stderr=True)


def progress() -> Progress:
    """A progress bar on standard error, drawn seldom: it takes from the cores that are measured."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=_console, refresh_per_second=1)


def show(title: str, figures: dict[str, Any], as_json: bool, details: dict[str, Any] | None = None) -> None:
    """Print the figures as a table and, when asked, with the details as a JSON object in the last line."""
    table = Table(title=title, show_header=False)
    for key, value in figures.items():
        table.add_row(key, json.dumps(value) if isinstance(value, (dict, list)) else str(value))
    _console.print(table)
    if as_json:
        print(json.dumps(figures | (details or {})))


def show_rows(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table with a row for each of `rows`."""
    table = Table(*columns, title=title)
    for row in rows:
        table.add_row(*map(str, row))
    _console.print(table)


def quantile(values: Sequence[float], share: float) -> float:
    """The value that `share` of `values` do not pass (nearest rank)."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
