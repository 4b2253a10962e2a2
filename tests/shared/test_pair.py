from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from shared.errors import PairError
from shared.pair import MANIFEST, Pair, built_in_pairs, load_pair


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(load_pair("home").folder, tmp_path / "pair"))


def test_the_built_in_pair_is_whole_and_small() -> None:
    assert built_in_pairs() == ["home"]
    pair = load_pair("home")
    for recorded in pair.sha256:
        pair.verify(pair.folder / recorded)
    pair.verify_target()
    assert {"target/config.json", "target/model.safetensors", "draft.onnx", "exit.safetensors", "tools.json"} <= set(
        pair.sha256
    )
    assert pair.exit_head is not None
    assert pair.exit_head.stat().st_size < 1e6
    assert (pair.folder / "target" / "model.safetensors").stat().st_size <= 25e6
    assert pair.draft is not None
    assert pair.draft.stat().st_size <= 4e6


def test_a_folder_is_loaded_by_its_path(folder: Path) -> None:
    pair = load_pair(str(folder))
    assert (pair.name, pair.target) == ("home", str(folder / "target"))
    assert pair.tokenizer_hash() == load_pair("home").tokenizer_hash()


def rewritten(folder: Path, old: str, new: str) -> Pair:
    manifest = folder / MANIFEST
    text = manifest.read_text()
    assert old in text
    manifest.write_text(text.replace(old, new))
    return load_pair(str(folder))


def test_a_target_on_the_hugging_face_hub_is_marked_as_one(folder: Path) -> None:
    pair = rewritten(folder, 'checkpoint = "target"', 'checkpoint = "hf://org/model"')
    assert pair.target == pair.verify_target() == "hf://org/model"


@pytest.mark.parametrize(
    "named",
    ["nothing", "org/model", "../elsewhere", "/nowhere", "./target/more", "hf:/org/model", "target/config.json"],
)
def test_a_target_that_is_not_there_is_never_taken_for_a_models_name(folder: Path, named: str) -> None:
    """A node needs none, and reads the rest of the pair."""
    pair = rewritten(folder, 'checkpoint = "target"', f'checkpoint = "{named}"')
    with pytest.raises(PairError, match="lacks its target"):
        pair.verify_target()


@pytest.mark.parametrize("file", ["config.json", "generation_config.json", "model.safetensors"])
def test_a_changed_file_of_the_target_is_noticed(folder: Path, file: str) -> None:
    pair = load_pair(str(folder))
    assert pair.verify_target() == pair.target
    path = folder / "target" / file
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(PairError, match=f"{file} is not the file"):
        pair.verify_target()
    path.unlink()
    with pytest.raises(PairError, match=f"cannot read .*{file}"):
        pair.verify_target()


@pytest.mark.parametrize("file", ["config.json", "model.safetensors"])
def test_a_target_that_is_recorded_in_part_is_refused(folder: Path, file: str) -> None:
    pair = rewritten(folder, f'"target/{file}"', f'"target/other-{file}"')
    (folder / "target" / f"other-{file}").write_bytes((folder / "target" / file).read_bytes())
    with pytest.raises(PairError, match=f"record that of {file}"):
        pair.verify_target()


def test_another_checkpoint_beside_the_target_is_not_taken_for_it(folder: Path) -> None:
    """That of the draft, for instance, which may have the same tokenizer."""
    shutil.copytree(folder / "target", folder / "draft")
    pair = rewritten(folder, 'checkpoint = "target"', 'checkpoint = "draft"')
    with pytest.raises(
        PairError, match=r"records the hash of target/config\.json, and of no file of the target .*draft"
    ):
        pair.verify_target()
    elsewhere = replace(pair, target=str(shutil.copytree(folder / "target", folder.parent / "target")))
    assert elsewhere.verify_target() == str(folder.parent / "target")


def test_a_target_of_which_nothing_is_recorded_is_as_good_as_its_own_checks(folder: Path) -> None:
    pair = replace(load_pair(str(folder)), sha256={})
    (folder / "target" / "config.json").write_text("{}")
    assert pair.verify_target() == str(folder / "target")


@pytest.mark.parametrize("spelt", ["./draft.onnx", "target/../draft.onnx", ".//draft.onnx"])
def test_a_recorded_path_may_be_spelt_in_other_ways(folder: Path, spelt: str) -> None:
    pair = rewritten(folder, '"draft.onnx" = ', f'"{spelt}" = ')
    assert pair.draft is not None
    pair.verify(pair.draft)
    pair.draft.write_bytes(b"x")
    with pytest.raises(PairError, match="install the pair"):
        pair.verify(pair.draft)


def test_a_changed_tokenizer_has_no_hash(folder: Path) -> None:
    (folder / "tokenizer.json").write_bytes(b"{}")
    with pytest.raises(PairError, match=r"tokenizer\.json is not the file"):
        load_pair(str(folder)).tokenizer_hash()


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
