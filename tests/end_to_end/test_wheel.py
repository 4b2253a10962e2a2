"""The wheel, installed outside the checkout: it holds every module, a node and a hub run from it, and a node stays light."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from tools.demo import broker_options
from tools.rig.broker import private_broker
from tools.rig.process import started
from tools.rig.testbed import HUB, HubBed

ROOT = Path(__file__).parents[2]
PACKAGES = ("edge_node", "hub", "shared")
HEAVY = ("jinja2", "onnxruntime", "paho", "tokenizers", "torch", "transformers")  # half a second or more together
OUTSIDE = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    source, built = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in (*PACKAGES, "tools", "tests", "pyproject.toml", "README.md", "LICENSE"):
        subprocess.run(["cp", "-r", str(ROOT / name), str(source)], check=True)
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check", "--no-deps"]
    subprocess.run([*pip, "--wheel-dir", str(built), str(source)], check=True)
    (found,) = built.iterdir()
    return found


def environment(folder: Path) -> Path:
    """A new environment; its programs are in what is returned."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    return folder / "bin"


def install(programs: Path, *arguments: str) -> None:
    pip = [sys.executable, "-m", "pip", "--python", str(programs / "python"), "install", "--quiet", "--no-compile"]
    subprocess.run([*pip, "--disable-pip-version-check", *arguments], check=True)


@dataclass(frozen=True)
class NodeEnvironment:
    """An environment of a node alone, and what its programs said before the extra was there."""

    programs: Path
    said_without_extra: dict[str, subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def node(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> NodeEnvironment:
    programs = environment(tmp_path_factory.mktemp("node") / "venv")
    constraint = ["--constraint", str(ROOT / "constraints.txt")]
    install(programs, *constraint, str(wheel))
    said = {"node": run(programs, "sled-node", "ask", "hello"), "hub": run(programs, "sled-hub", "serve")}
    install(programs, *constraint, f"{wheel}[node]")
    return NodeEnvironment(programs, said)


@pytest.fixture(scope="module")
def hub(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel alone, which finds torch and the like where these tests find them."""
    programs = environment(tmp_path_factory.mktemp("hub") / "venv")
    install(programs, "--no-deps", str(wheel))
    (site,) = (programs.parent / "lib").glob("python*/site-packages")
    (site / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return programs


def run(programs: Path, *command: str) -> subprocess.CompletedProcess[str]:
    program, *arguments = command
    return subprocess.run(
        [str(programs / program), *arguments],
        capture_output=True, text=True, timeout=120, check=False, cwd="/", env=OUTSIDE,
    )  # fmt: skip


@pytest.mark.slow
def test_the_wheel_holds_every_module_and_the_built_in_pairs_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    modules = {path.relative_to(ROOT).as_posix() for package in PACKAGES for path in (ROOT / package).rglob("*.py")}
    pairs = {path.relative_to(ROOT).as_posix() for path in (ROOT / "shared/pairs").rglob("*") if path.is_file()}
    graphs = {path.relative_to(ROOT).as_posix() for path in (ROOT / "edge_node/profile").glob("*.onnx")}
    others = {
        "hub/pairing/prompts.toml",
        *(f"hub/ui/static/{path.name}" for path in (ROOT / "hub/ui/static").iterdir()),
        "shared/devices.toml",
        *graphs,
        *(f"{package}/py.typed" for package in PACKAGES),
    }
    assert held == modules | pairs | others


@pytest.mark.slow
def test_a_node_from_the_wheel_answers_and_needs_neither_torch_nor_transformers(
    node: NodeEnvironment, bed: HubBed
) -> None:
    listed = "import importlib.metadata as m; print(*[each.name.lower() for each in m.distributions()])"
    names = set(run(node.programs, "python", "-c", listed).stdout.split())
    assert {"onnxruntime", "sled-mqtt"} <= names
    assert not names & {"torch", "transformers", "optimum", "onnx"}
    where = run(node.programs, "python", "-c", "import edge_node; print(edge_node.__file__)").stdout
    assert where.startswith(str(node.programs.parent)), "not the checkout's"
    options = ["--json", "--mode", "speculate", "--name", "pi", *broker_options(bed.broker.settings("pi"))]
    done = run(node.programs, "sled-node", "ask", *options, "turn on the kitchen lights")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["accepted"] > 0
    assert report["text"].startswith('{"name":"HassTurnOn"')


@pytest.mark.slow
def test_a_hub_from_the_wheel_serves(hub: Path, node: NodeEnvironment, tmp_path: Path) -> None:
    where = run(hub, "python", "-c", "import hub; print(hub.__file__)").stdout
    assert where.startswith(str(hub.parent)), "not the checkout's"
    with private_broker(tmp_path, hubs=[HUB], nodes=["pi"]) as broker:
        log = tmp_path / "hub.log"
        serving = [str(hub / "sled-hub"), "serve", "--name", HUB, *broker_options(broker.settings(HUB))]
        with started(serving, log):
            options = ["--name", "pi", *broker_options(broker.settings("pi")), "--wait", "90"]
            done = run(node.programs, "sled-node", "ask", *options, "turn on the kitchen lights")
            assert done.returncode == 0, done.stderr + log.read_text()
            assert "HassTurnOn" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("extra", ["node", "hub"])
def test_a_program_without_its_extra_says_what_to_install_in_one_sentence(node: NodeEnvironment, extra: str) -> None:
    done = node.said_without_extra[extra]
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].endswith(f"pip install 'sled-mqtt[{extra}]'"), "what is right for a wheel"
    assert "Traceback" not in done.stderr


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import atexit, sys; from edge_node.cli import app; "
        f"atexit.register(lambda: print([name for name in {HEAVY!r} if name in sys.modules])); app(['--help'])"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert "Usage" in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"
