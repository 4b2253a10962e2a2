"""How a benchmark shows its figures."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

_console = Console(stderr=True)


def progress() -> Progress:
    """A progress bar on standard error."""
    return Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), console=_console
    )


def show(title: str, figures: dict[str, Any], as_json: bool) -> None:
    """Print the figures as a table, and as a JSON object in the last line when asked."""
    table = Table(title=title, show_header=False)
    for key, value in figures.items():
        table.add_row(key, json.dumps(value) if isinstance(value, (dict, list)) else str(value))
    _console.print(table)
    if as_json:
        print(json.dumps(figures))


def quantile(values: Sequence[float], share: float) -> float:
    """The value that `share` of `values` do not pass (nearest rank)."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
