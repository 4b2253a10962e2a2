from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from shared.errors import PairError
from shared.file_hash import sha256_of
from shared.pair import DEFAULT, MANIFEST, Pair, built_in_pairs, load_pair


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
    assert pair.draft.model.stat().st_size <= 4e6


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
    pair.verify(pair.draft.model)
    pair.draft.model.write_bytes(b"x")
    with pytest.raises(PairError, match="install the pair"):
        pair.verify(pair.draft.model)


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
    pair.draft.model.write_bytes(pair.draft.model.read_bytes() + b"x")
    with pytest.raises(PairError, match="install the pair"):
        pair.verify(pair.draft.model)


def test_a_draft_has_a_version_by_its_contents_whether_they_are_recorded_or_not(folder: Path) -> None:
    pair = load_pair(str(folder))
    assert pair.draft is not None
    digest = sha256_of(pair.draft.model).hex()
    assert pair.version_of(pair.draft) == f"default:{digest[:16]}"
    unrecorded = replace(pair, sha256={})
    assert unrecorded.version_of(pair.draft) == pair.version_of(pair.draft)
    pair.draft.model.write_bytes(b"another")
    assert unrecorded.version_of(pair.draft) != pair.version_of(pair.draft)


def test_a_pair_may_have_drafts_for_several_devices(folder: Path) -> None:
    shutil.copy(folder / "draft.onnx", folder / "pi4.onnx")
    pair = rewritten(
        folder,
        "[exit]",
        'acceptance = 0.5\nstep_bytes = 900_000\n[drafts.pi4]\nmodel = "pi4.onnx"\ntokenizer = "tokenizer.json"\n'
        'words = {"<|end|>" = "</s>"}\n[exit]',
    )
    assert list(pair.drafts) == [DEFAULT, "pi4"]
    assert pair.draft is not None
    assert (pair.draft.acceptance, pair.draft.step_bytes) == (0.5, 900_000)
    assert pair.drafts["pi4"].files == (folder / "pi4.onnx", folder / "tokenizer.json")
    assert pair.drafts["pi4"].words == {"<|end|>": "</s>"}
    assert not pair.draft.words


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("acceptance = 1.5", "must be a number from 0 to 1"),
        ("acceptance = true", "must be a number from 0 to 1"),
        ("step_bytes = 0", "must be a number from 1"),
        ('words = {"a" = "b"}', "translates words for a draft that has the target's tokenizer"),
        ('tokenizer = "tokenizer.json"\nwords = {"a" = 3}', "'a' must be translated by a control word, not 3"),
        ('tokenizer = "tokenizer.json"\nwords = {"" = "b"}', "'' must be translated by a control word"),
        ('[drafts.default]\nmodel = "draft.onnx"', "is the name of the draft in"),
        ('[drafts."a/b"]\nmodel = "draft.onnx"', "a name has 1 to 64"),
        ('[drafts.pi4]\nmodel = "absent.onnx"', "lacks .*absent.onnx"),
        ("[drafts.pi4]\nacceptance = 0.5", "lacks 'model'"),
        ('[drafts]\npi4 = "draft.onnx"', "must be a table"),
    ],
)
def test_a_draft_that_is_described_wrongly_is_refused(folder: Path, lines: str, said: str) -> None:
    with pytest.raises(PairError, match=said):
        rewritten(folder, "[exit]", f"{lines}\n[exit]")
