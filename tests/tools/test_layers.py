"""The import contracts of pyproject.toml name every import against the layers: planted ones in a copy of the packages."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]
PACKAGES = ("edge_node", "hub", "shared", "tools")
# The module that is given the import, the module that it imports, and the contract that this breaks.
PLANTED = [
    ("shared.codec", "hub.settings", "Imports point one way: shared below node and hub, tools above"),
    ("edge_node.settings", "hub.settings", "Imports point one way: shared below node and hub, tools above"),
    ("hub.settings", "tools.demo", "Imports point one way: shared below node and hub, tools above"),
    ("shared.topics", "torch", "What both sides speak needs no model runtime"),
    ("edge_node.rounds.gate", "torch", "A node needs neither torch nor transformers"),
    ("edge_node.dialogue.calls", "transformers", "A node needs neither torch nor transformers"),
    ("edge_node.settings", "edge_node.rounds.pace", "Inside the node"),
    ("edge_node.drafting.ngram", "edge_node.link.directory", "Inside the node"),
    ("edge_node.link.hub_link", "edge_node.drafting.drafter", "Inside the node"),
    ("edge_node.rounds.pace", "edge_node.dialogue.conversation", "Inside the node"),
    ("edge_node.dialogue.tokenizer", "edge_node.assembly", "Inside the node"),
    ("edge_node.assembly", "edge_node.frontends.ask", "Inside the node"),
    ("edge_node.frontends.chat", "edge_node.doctor", "Inside the node"),
    ("hub.settings", "hub.kv.pages", "Inside the hub"),
    ("hub.kv.pages", "hub.sessions.book", "Inside the hub"),
    ("hub.sessions.session", "hub.model.batch", "Inside the hub"),
    ("hub.model.batch", "hub.sessions.session", "Inside the hub"),
    ("hub.model.target", "hub.engine.engine", "Inside the hub"),
    ("hub.engine.engine", "hub.service", "Inside the hub"),
    ("hub.intake", "hub.assembly", "Inside the hub"),
    ("hub.service", "hub.cli", "Inside the hub"),
]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    for package in PACKAGES:
        shutil.copytree(CHECKOUT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__", "pairs"))
    shutil.copy(CHECKOUT / "pyproject.toml", tmp_path)
    return tmp_path


def checked(folder: Path) -> tuple[int, str]:
    """The exit status of the check that `make check` makes, and what it says."""
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=folder,
        env={"PYTHONPATH": str(folder), "PATH": "", "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def test_the_packages_keep_to_the_layers(copy: Path) -> None:
    status, said = checked(copy)
    assert status == 0, said
    assert "0 broken" in said


def test_every_planted_import_is_named_under_its_contract(copy: Path) -> None:
    for importer, imported, _ in PLANTED:
        with (copy / importer.replace(".", "/")).with_suffix(".py").open("a") as file:
            file.write(f"\nimport {imported}\n")
    status, said = checked(copy)
    assert status != 0
    reports = dict(re.findall(r"^([^\n]+)\n-+\n(.*?)(?=^[^\n]+\n-+\n|\Z)", said, re.MULTILINE | re.DOTALL))
    for importer, imported, contract in PLANTED:
        assert re.search(rf"\b{re.escape(importer)} -> {re.escape(imported)}\b", reports[contract]), (
            importer,
            imported,
        )


def test_a_new_file_belongs_to_a_layer(copy: Path) -> None:
    (copy / "hub" / "attic.py").write_text('"""Belongs nowhere."""\n')
    status, said = checked(copy)
    assert status != 0
    assert "hub.attic" in said
