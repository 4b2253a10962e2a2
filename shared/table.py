"""Tables of short cells on standard output."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from shared.program import sentence
from shared.streams import put_line

_LONGEST = 40  # characters of a cell


def put_table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows below their head, columns aligned; what others have told is shown in one short line."""
    cells = [tuple(head), *(tuple(map(_cell, row)) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        put_line("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _cell(value: object) -> str:
    text = {None: "", True: "yes", False: "no"}.get(value, str(value)) if isinstance(value, bool | None) else str(value)
    return sentence(text)[:_LONGEST]
