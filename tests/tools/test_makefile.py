"""What `make` would install on a fresh checkout, and on one in which the demo has run."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DEMO, DEV = "'.[node,hub]'", "'.[dev]'"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    for name in ("Makefile", "pyproject.toml", "constraints.txt", "constraints-transformers5.txt"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def installed(checkout: Path, target: str) -> list[str]:
    """What would be installed into `.venv`, in order."""
    done = subprocess.run(["make", "-n", target], cwd=checkout, check=True, capture_output=True, text=True)
    lines = [line for line in done.stdout.splitlines() if line.startswith(".venv/bin/pip install ")]
    assert all("--constraint constraints.txt" in line for line in lines)
    return [line.split()[-1] for line in lines]


def test_each_does_all_its_set_up_and_the_demo_no_more_than_its_own(checkout: Path) -> None:
    assert installed(checkout, "demo") == ["torch", DEMO]
    assert installed(checkout, "check") == ["torch", DEMO, DEV]
    assert installed(checkout, "test") == ["torch", DEMO, DEV, "'.[interpreter]'"]


def test_what_the_demo_has_installed_stays(checkout: Path) -> None:
    (checkout / ".venv").mkdir()
    (checkout / ".venv" / ".set-up-demo").touch()
    assert installed(checkout, "demo") == []
    assert installed(checkout, "check") == [DEV]
