"""Every setting is documented and is an option."""

from __future__ import annotations

import subprocess
import sys

import pytest

from edge_node.settings import NodeSettings
from hub.fleet.settings import FleetSettings
from hub.settings import HubSettings
from shared.options import settings_of
from tools.settings_doc import FILE, document


def test_the_document_is_current() -> None:
    assert FILE.read_text(encoding="utf-8") == document(), "run: python -m tools.settings_doc"


@pytest.mark.parametrize(
    ("command", "cls"),
    [
        (["edge_node.cli", "chat"], NodeSettings),
        (["edge_node.cli", "ask"], NodeSettings),
        (["edge_node.cli", "doctor"], NodeSettings),
        (["hub.cli", "serve"], HubSettings),
        (["hub.cli", "top"], FleetSettings),
    ],
)
def test_every_setting_is_in_the_help(command: list[str], cls: type, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    printed = subprocess.run(
        [sys.executable, "-m", *command, "--help"], capture_output=True, text=True, check=True
    ).stdout
    for setting in settings_of(cls):
        assert set(setting.option.split("/")) <= set(printed.split()), setting.key
        assert setting.meaning.split()[0] in printed
        assert f"[default: {setting.shown_default}; env: {setting.variable(cls.__name__[:-8])}]" in " ".join(
            printed.split()
        )


def test_option_names_leave_out_the_unit_of_seconds() -> None:
    node = {setting.key: setting.option for setting in settings_of(NodeSettings)}
    hub = {setting.key: setting.option for setting in settings_of(HubSettings)}
    assert node["wait_s"] == "--wait"
    assert node["early"] == "--early/--no-early"
    assert node["broker_keepalive_s"] == "--broker-keepalive"
    assert hub["window_ms"] == "--window-ms"
    assert hub["session_ttl_s"] == "--session-ttl"
