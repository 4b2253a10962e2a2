"""The benchmarks run, and a small run of each shows what the large ones promise."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any


def bench(*arguments: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "tools.bench", *arguments, "--json"],
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures


def test_exactness() -> None:
    figures = bench("exactness", "--requests", "48")
    assert figures["mismatches"] == 0
    assert figures["compared_tokens"] > 1500
    assert figures["target_forwards"] <= figures["rounds"]
    histogram = figures["accepted_histogram"]
    assert histogram["0"] > 0, "the random draft is rejected"
    assert histogram["8"] > 0, "the built-in draft is accepted"


def test_pair() -> None:
    figures = bench("pair", "--requests", "100")
    assert figures["target_exact_match"] >= 0.8
    assert figures["committed_per_round"] >= 3.0


def test_round() -> None:
    figures = bench("round", "--requests", "20")
    assert figures["bytes_up_per_round"] <= 80
    assert figures["bytes_down_per_round"] <= 80
    assert figures["rounds"] > 50


def test_modes() -> None:
    figures = bench("modes", "--requests", "5")
    assert figures["same_text"] is True
