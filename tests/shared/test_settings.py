from __future__ import annotations

from pathlib import Path

import pytest

from edge_node.settings import Mode, NodeSettings
from hub.settings import HubSettings
from shared.errors import SettingsError
from shared.settings import load


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))


def test_a_file_gives_way_to_the_environment_and_that_to_options(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "node.toml"
    file.write_text('name = "file"\ndraft_length = 3\nmode = "stream"\n[broker]\nhost = "file"\nport = 1\n')
    monkeypatch.setenv("SLED_NODE_DRAFT_LENGTH", "4")
    monkeypatch.setenv("SLED_NODE_BROKER_PORT", "2")
    settings = load(NodeSettings, "node", {"broker_port": 3, "name": None}, file)
    assert (settings.name, settings.draft_length, settings.mode) == ("file", 4, Mode.STREAM)
    assert (settings.broker.host, settings.broker.port) == ("file", 3)


def test_the_default_file_is_read_when_it_is_there(tmp_path: Path) -> None:
    folder = tmp_path / ".config" / "sled"
    folder.mkdir(parents=True)
    (folder / "hub.toml").write_text("window_ms = 7")
    assert load(HubSettings, "hub", {}).window_ms == 7.0


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("draft_lenght = 3", "did you mean 'draft_length'"),
        ("[broker]\nhots = 'x'", "did you mean 'host'"),
        ("draft_length = 'many'", "must be a whole number"),
        ("draft_length = true", "must be a whole number"),
        ("mode = 'fast'", "speculate, stream"),
        ("mode =", "not valid TOML"),
        ("draft_length = 0", "from 1 to 64"),
        ("[broker]\nport = 0", "from 1 to 65535"),
    ],
)
def test_a_wrong_file_is_an_error_that_helps(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "node.toml"
    file.write_text(text)
    with pytest.raises(SettingsError, match=says):
        load(NodeSettings, "node", {}, file)


def test_an_unknown_environment_variable_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLED_NODE_PASSWORD", "secret")
    with pytest.raises(SettingsError, match="SLED_NODE_PASSWORD"):
        load(NodeSettings, "node", {})


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot read"):
        load(NodeSettings, "node", {}, tmp_path / "none.toml")


def test_a_password_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("secret\n")
    settings = load(NodeSettings, "node", {"broker_password_file": file})
    file.chmod(0o644)
    with pytest.raises(SettingsError, match="chmod 600"):
        settings.broker.password()
    file.chmod(0o600)
    assert settings.broker.password() == "secret"
