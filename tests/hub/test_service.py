"""A hub checks what its pair recorded before it loads anything."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel

from hub.service import Hub
from hub.settings import Exits, HubSettings
from shared.errors import PairError
from shared.pair import Pair, load_pair
from shared.vocabulary import end_ids, ids_below, load_tokenizer, require_known


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


def tokenizer_with(folder: Path, end: int) -> Pair:
    """A pair whose end token has that id, behind a hole of ids that stand for nothing."""
    vocabulary = {"a": 0, "b": 1, "<end>": end}
    Tokenizer(WordLevel(vocabulary, unk_token="a")).save(str(folder / "tokenizer.json"))
    return replace(
        load_pair("home"), folder=folder, tokenizer=folder / "tokenizer.json", end_tokens=("<end>",), sha256={}
    )


def test_ids_behind_a_hole_belong_to_the_tokenizer(tmp_path: Path) -> None:
    pair = tokenizer_with(tmp_path, 7)
    tokenizer = load_tokenizer(pair)
    assert (ids_below(tokenizer), end_ids(pair, tokenizer)) == (8, frozenset({7}))


def test_an_end_that_the_target_can_never_write_is_refused(tmp_path: Path) -> None:
    pair = tokenizer_with(tmp_path, 7)
    tokenizer = load_tokenizer(pair)
    require_known(pair, tokenizer, end_ids(pair, tokenizer), 8)
    with pytest.raises(PairError, match="ids below 7, and the tokenizer of 'home' gives 7 to '<end>'"):
        require_known(pair, tokenizer, end_ids(pair, tokenizer), 7)
