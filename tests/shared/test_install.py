"""What an error message advises to install."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from shared.install import install_command


def test_a_checkout_installs_itself_and_a_wheel_its_distribution(tmp_path: Path) -> None:
    assert install_command("hub", tmp_path) == "pip install 'sled-mqtt[hub]'"
    (tmp_path / "pyproject.toml").touch()
    assert install_command("node", tmp_path) == f"pip install '{tmp_path}[node]'"


@pytest.mark.parametrize(
    ("package", "program", "arguments"),
    [
        ("onnxruntime", "node", ["ask", "hello"]),
        ("jinja2", "node", ["ask", "hello"]),
        ("torch", "hub", ["serve"]),
    ],
)
def test_a_program_without_its_extra_says_what_to_install(package: str, program: str, arguments: list[str]) -> None:
    module = {"node": "edge_node.cli", "hub": "hub.cli"}[program]
    code = f"import sys; sys.modules[{package!r}] = None; from {module} import app; app({arguments!r})"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    said = ended.stderr.splitlines()[-1]
    assert said == f"sled-{program}: {package} is not installed; this command needs: {install_command(program)}"
    assert "Traceback" not in ended.stderr
