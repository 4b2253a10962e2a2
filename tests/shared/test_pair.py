from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from shared.errors import PairError
from shared.pair import MANIFEST, built_in_pairs, load_pair


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(load_pair("home").folder, tmp_path / "pair"))


def test_the_built_in_pair_is_whole_and_small() -> None:
    assert built_in_pairs() == ["home"]
    pair = load_pair("home")
    for recorded in pair.sha256:
        pair.verify(pair.folder / recorded)
    assert {"target/model.safetensors", "draft.onnx", "exit.safetensors", "tools.json"} <= set(pair.sha256)
    assert pair.exit_head is not None
    assert pair.exit_head.stat().st_size < 1e6
    assert (pair.folder / "target" / "model.safetensors").stat().st_size <= 25e6
    assert pair.draft is not None
    assert pair.draft.stat().st_size <= 4e6


def test_a_folder_is_loaded_by_its_path(folder: Path) -> None:
    pair = load_pair(str(folder))
    assert (pair.name, pair.target) == ("home", str(folder / "target"))
    assert pair.tokenizer_hash() == load_pair("home").tokenizer_hash()


def test_a_target_that_is_no_folder_is_a_models_name(folder: Path) -> None:
    manifest = folder / MANIFEST
    manifest.write_text(manifest.read_text().replace('checkpoint = "target"', 'checkpoint = "org/model"'))
    assert load_pair(str(folder)).target == "org/model"


@pytest.mark.parametrize("name", ["nothing", "/nowhere/at/all", "", ".."])
def test_what_is_not_a_pair_is_named(name: str) -> None:
    with pytest.raises(PairError, match="is not a pair.*home"):
        load_pair(name)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("schema = 1", "schema = 2", "schema 2"),
        ('name = "home"', "", "lacks 'name'"),
        ("[tokenizer]", "[tokeniser]", "'tokeniser', .* did you mean 'tokenizer'"),
        ('file = "tokenizer.json"', 'file = "other.json"', "lacks .*other.json"),
        ('file = "tools.json"', 'file = "other.json"', "lacks .*other.json"),
        ('file = "tools.json"', "", "lacks 'file'"),
        ('head = "exit.safetensors"', 'head = "other.safetensors"', "lacks .*other.safetensors"),
        ('head = "exit.safetensors"', "", "lacks 'head'"),
        ("temperature = 0.0", "temperature = -1.0", "temperature"),
        ("temperature = 0.0", "warmth = 1", "warmth"),
        ("schema = 1", "schema =", "not valid TOML"),
    ],
)
def test_a_broken_manifest_says_what_is_wrong(folder: Path, old: str, new: str, says: str) -> None:
    manifest = folder / MANIFEST
    text = manifest.read_text()
    assert old in text
    manifest.write_text(text.replace(old, new))
    with pytest.raises(PairError, match=says):
        load_pair(str(folder))


def test_a_pair_may_do_without_tools(folder: Path) -> None:
    assert load_pair(str(folder)).tools == folder / "tools.json"
    manifest = folder / MANIFEST
    manifest.write_text(manifest.read_text().replace('[tools]\nfile = "tools.json"\n', ""))
    assert load_pair(str(folder)).tools is None


def test_a_pair_may_do_without_an_exit(folder: Path) -> None:
    assert load_pair(str(folder)).exit_head == folder / "exit.safetensors"
    manifest = folder / MANIFEST
    manifest.write_text(manifest.read_text().replace('[exit]\nhead = "exit.safetensors"\n', ""))
    assert load_pair(str(folder)).exit_head is None


def test_a_changed_file_is_noticed(folder: Path) -> None:
    pair = load_pair(str(folder))
    assert pair.draft is not None
    pair.draft.write_bytes(pair.draft.read_bytes() + b"x")
    with pytest.raises(PairError, match="install the pair"):
        pair.verify(pair.draft)
