"""A quarter of a minute in which everybody is killed, frozen and cut off, and each answer is still what it should be."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tools.chaos.rolling import uneven


@pytest.mark.slow
def test_a_quarter_of_a_minute_of_chaos_changes_no_answer(tmp_path: Path) -> None:
    # Of this seed are kills of broker, hub and nodes, freezes, cuts, and messages that are lost, late and in another order.
    command = [
        sys.executable, "-m", "tools.chaos", "--minutes", "0.25", "--seed", "61", "--nodes", "3",
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


@pytest.mark.slow
def test_a_hub_that_is_restarted_loses_no_answer_and_gets_its_share_again() -> None:
    command = [sys.executable, "-m", "tools.chaos", "--rolling", "--restarts", "1", "--sessions", "10", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    figures = json.loads(done.stdout.splitlines()[-1])
    assert figures["lost_answers"] == figures["mismatched_tokens"] == figures["uneven_restarts"] == 0, done.stderr
    assert done.returncode == 0
    assert figures["compared_tokens"] > 300
    assert figures["moved_answers"] >= 1
    assert figures["even_s_worst"] <= 60


@pytest.mark.parametrize(("sessions", "spread"), [((6, 6), 0.0), ((9, 3), 0.5), ((12, 0), 1.0), ((0, 0), 0.0)])
def test_how_uneven_sessions_are(sessions: tuple[int, ...], spread: float) -> None:
    assert uneven(sessions) == spread
