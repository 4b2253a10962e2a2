"""The table of architectures in docs/targets.md."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

_PAGE = Path(__file__).parents[1] / "docs" / "targets.md"
_ROW = re.compile(r"^\| [^|]+ \| (`[^|]+`) \| (\w+) \| (\w+) \| (\w+) \|$", re.MULTILINE)


@dataclass(frozen=True)
class Told:
    """What the page says of a checkpoint."""

    with_4: str
    with_5: str
    draft: str


def told() -> dict[str, Told]:
    """By the name of each checkpoint."""
    rows = _ROW.findall(_PAGE.read_text(encoding="utf-8"))
    return {name: Told(*cells) for names, *cells in rows for name in re.findall(r"`([^`]+)`", names)}
