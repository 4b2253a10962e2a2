"""Units and settings files for systemd."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from edge_node.settings import NodeSettings
from edge_node.unit import NODE_SERVICE
from hub.settings import HubSettings
from hub.unit import HUB_SERVICE
from shared import service_unit
from shared.errors import SettingsError
from shared.service_unit import Kind, install, settings_text, uninstall, unit_text
from shared.settings import load
from tools.service_units import files

KINDS = pytest.mark.parametrize("kind", [NODE_SERVICE, HUB_SERVICE], ids=lambda kind: kind.program)


def test_the_examples_are_current() -> None:
    for path, text in files().items():
        assert path.read_text(encoding="utf-8") == text, "run: python -m tools.service_units"


@KINDS
def test_systemd_finds_nothing_wrong_and_little_exposed(kind: Kind, tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("there is no systemd-analyze here")
    unit = tmp_path / kind.unit
    unit.write_text(unit_text(kind, "/bin/true", tmp_path / "a.toml", ("password",), 252))
    verified = subprocess.run(["systemd-analyze", "verify", str(unit)], check=False, capture_output=True, text=True)
    assert (verified.returncode, verified.stderr) == (0, "")
    command = ["systemd-analyze", "security", "--offline=yes", "--threshold=20", str(unit)]
    exposed = subprocess.run(command, check=False, capture_output=True, text=True)
    assert exposed.returncode == 0, exposed.stdout[-400:]


@KINDS
def test_the_settings_file_is_read_as_the_defaults_and_uncommented_too(kind: Kind, tmp_path: Path) -> None:
    text = settings_text(kind)
    cls = {"node": NodeSettings, "hub": HubSettings}[kind.program]
    file = tmp_path / "a.toml"
    file.write_text(text)
    assert load(cls, kind.program, {}, file) == cls()
    said = [line.removeprefix("# ") for line in text.splitlines()]
    file.write_text(
        "\n".join(
            line
            for line in said
            if line.startswith(("mode =", "policy =", "draft_length =", "[", "port =", "max_draft ="))
        )
    )
    assert load(cls, kind.program, {}, file) == cls()


@KINDS
def test_a_dry_run_says_all_and_writes_nothing(kind: Kind, tmp_path: Path) -> None:
    said: list[str] = []
    (tmp_path / f"{kind.program}.password").write_text("x")
    install(kind, tmp_path / f"{kind.program}.toml", dry_run=True, say=said.append)
    whole = "\n".join(said)
    assert f"LoadCredential=password:{tmp_path}/{kind.program}.password" in whole
    assert "Type=notify" in whole
    assert f"systemctl enable {kind.unit}" in whole
    assert not (tmp_path / f"{kind.program}.toml").exists()


def test_newer_systemd_starts_a_service_again_more_and_more_seldom() -> None:
    def lines(version: int) -> list[str]:
        return unit_text(NODE_SERVICE, "/bin/true", Path("/etc/sled/node.toml"), (), version).splitlines()

    assert set(lines(254)) - set(lines(252)) == {"RestartSteps=6", "RestartMaxDelaySec=120"}


def test_a_program_that_a_service_cannot_see_is_not_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "sled-node"
    program.write_text("")
    monkeypatch.setattr(sys, "argv", [str(program)])
    monkeypatch.setattr(service_unit, "_RUNNING", tmp_path)
    with pytest.raises(SettingsError, match="install SLED below /opt"):
        install(NODE_SERVICE, tmp_path / "node.toml", dry_run=False, say=print)


def test_what_is_not_installed_is_not_uninstalled() -> None:
    with pytest.raises(SettingsError, match="nothing to uninstall"):
        uninstall(NODE_SERVICE, say=print)
