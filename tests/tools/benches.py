"""Benchmarks, run in the tests' own process."""

from __future__ import annotations

import io
import json
from contextlib import redirect_stdout
from typing import Any

from tools.bench.__main__ import app


def bench(*arguments: str) -> dict[str, Any]:
    """The figures that the command prints, run in this process: importing torch and transformers takes longer than most."""
    printed = io.StringIO()
    with redirect_stdout(printed):
        app([*arguments, "--json"], standalone_mode=False)
    figures: dict[str, Any] = json.loads(printed.getvalue().splitlines()[-1])
    return figures
