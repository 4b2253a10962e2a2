"""Half a minute in which everybody is killed, frozen and cut off, and each answer is still what it should be."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_half_a_minute_of_chaos_changes_no_answer(tmp_path: Path) -> None:
    command = [
        sys.executable, "-m", "tools.chaos", "--minutes", "0.5", "--seed", "1", "--nodes", "3",
        "--failed", str(tmp_path / "failed.json"), "--json",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    figures = json.loads(done.stdout.splitlines()[-1])
    assert figures["mismatched_tokens"] == 0, done.stderr
    assert figures["lost_answers"] == 0, done.stderr
    assert figures["hangs"] == 0, done.stderr
    assert done.returncode == 0
    assert not (tmp_path / "failed.json").exists()
    assert figures["compared_tokens"] > 300
    assert figures["kills"] >= 5
    assert figures["kills_mid_round"] >= 2
    assert figures["cuts"] >= 2
    assert figures["network_faults"] > figures["cuts"]
    assert figures["recoveries"] >= 2
