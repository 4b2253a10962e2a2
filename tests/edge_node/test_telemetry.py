"""ONNX Runtime keeps no device id and reports nothing: neither in a node nor in a tool."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

_DRAFTS = """
from edge_node.drafting.onnx_drafter import OnnxDrafter
from shared.pair import load_pair
from shared.sampling_parameters import Sampling
print(next(OnnxDrafter(load_pair("home").draft.model).draft([1, 2], Sampling())).token)
"""
_TOOL = "import tools, onnxruntime; print(onnxruntime.get_device())"
# ONNX Runtime is silent by itself where it takes a process for a build server's or a test's.
_SILENCING = ("ORT_DISABLE_TELEMETRY", "ORT_RUNNING_UNIT_TESTS", "CI", "GITHUB_ACTIONS", "TF_BUILD")


@pytest.mark.parametrize("code", [_DRAFTS, _TOOL], ids=["node", "tool"])
def test_a_fresh_home_stays_empty(tmp_path: Path, code: str) -> None:
    environment = {name: value for name, value in os.environ.items() if name not in _SILENCING}
    environment |= {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache"), "PYTHONDONTWRITEBYTECODE": "1"}
    ended = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.strip()
    assert [str(path) for path in tmp_path.rglob("*")] == []
