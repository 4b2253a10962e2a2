"""Writes the tables of docs/metrics.md from what hub and node tell Prometheus: `python -m tools.metrics_doc`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edge_node import metrics as node
from hub import metrics as hub
from shared.metrics import Row

PAGE = Path(__file__).resolve().parent.parent / "docs" / "metrics.md"
_BEGIN, _END = "<!-- written by python -m tools.metrics_doc -->\n", "<!-- until here -->\n"


def tables() -> str:
    """A table for each program."""
    return f"{_table('sled-hub', hub.ROWS)}\n{_table('sled-node', node.ROWS)}"


def page_with(text: str) -> str:
    """The page's `text` with the tables between its marks."""
    before, _, rest = text.partition(_BEGIN)
    return before + _BEGIN + tables() + _END + rest.partition(_END)[2]


def _table(program: str, rows: Sequence[Row]) -> str:
    lines = [f"| {program} | kind | what it is |", "|---|---|---|"]
    lines += [f"| `{row.name}` | {row.kind} | {row.meaning} |" for row in rows]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page_with(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
