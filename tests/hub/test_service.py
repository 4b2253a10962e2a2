"""A hub checks what its pair recorded before it loads anything."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from hub.service import Hub
from hub.settings import Exits, HubSettings
from shared.errors import PairError
from shared.pair import load_pair


@pytest.mark.parametrize(
    "file", ["target/config.json", "target/model.safetensors", "tokenizer.json", "exit.safetensors", "target"]
)
def test_a_file_that_is_not_the_recorded_one_is_never_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str
) -> None:
    loaded: list[str] = []
    monkeypatch.setattr("hub.model.target.load_checkpoint", lambda *_, **__: loaded.append("target"))
    folder = Path(shutil.copytree(load_pair("home").folder, tmp_path / "pair"))
    path = folder / file
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.write_bytes(path.read_bytes()[:-1] + b"\n\n")
    with pytest.raises(PairError, match=rf"{path} is not the file|lacks its target, the folder {path}"):
        Hub(HubSettings(pair=str(folder), device="cpu", exits=Exits.ALWAYS), lambda _: None)
    assert not loaded
