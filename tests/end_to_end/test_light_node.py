"""A node is light: its own environment has neither torch nor transformers, and its command starts at once."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tools.rig.testbed import HubBed

ROOT = Path(__file__).parents[2]


HEAVY = (
    "jinja2",
    "onnxruntime",
    "paho",
    "tokenizers",
    "torch",
    "transformers",
)  # half a second or more together


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from edge_node.cli import app; app(['--help'], standalone_mode=False); "
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert "Usage" in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.fixture(scope="module")
def light_environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("light") / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    source = tmp_path_factory.mktemp("source")
    for name in ("edge_node", "hub", "shared", "pyproject.toml", "README.md", "LICENSE"):
        subprocess.run(["cp", "-r", str(ROOT / name), str(source)], check=True)
    pip = [str(folder / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "--constraint", str(ROOT / "constraints.txt"), f"{source}[node]"], check=True)
    return folder


def test_a_node_needs_neither_torch_nor_transformers(light_environment: Path, bed: HubBed) -> None:
    listed = subprocess.run(
        [str(light_environment / "bin" / "pip"), "list", "--format=json"], check=True, capture_output=True, text=True
    )
    names = {package["name"].lower() for package in json.loads(listed.stdout)}
    assert "onnxruntime" in names
    assert not names & {"torch", "transformers", "optimum", "onnx"}
    settings = bed.broker.settings("pi")
    done = subprocess.run(
        [
            str(light_environment / "bin" / "sled-node"), "ask", "--json", "--name", "pi",
            "--broker-host", settings.host, "--broker-port", str(settings.port),
            "--broker-password-file", str(settings.password_file), "turn on the kitchen lights",
        ],
        capture_output=True, text=True, timeout=60, check=False, cwd="/",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["accepted"] > 0
    assert report["text"].startswith('{"name":"HassTurnOn"')


def test_a_node_says_what_a_hub_lacks(light_environment: Path) -> None:
    done = subprocess.run(
        [str(light_environment / "bin" / "sled-hub"), "serve"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert "pip install 'sled-mqtt[hub]'" in done.stderr, "what is right for a wheel"
    assert "Traceback" not in done.stderr
