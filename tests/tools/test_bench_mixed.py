"""`tools.bench mixed`: devices with all drafts of a pair at once, among them one of another vocabulary."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from shared.errors import PairError
from shared.pair import MANIFEST, load_pair
from tests.other_vocabulary import END, write_foreign_pair
from tests.tools.benches import bench
from tools.bench import mixed
from tools.bench.truths import truth_of
from tools.rig.drafts import Extra, pair_with_drafts

_FOREIGN = f"""
[drafts.foreign]
model = "foreign.onnx"
tokenizer = "draft-tokenizer.json"
words = {{"<|end|>" = "{END}"}}
"""


@pytest.fixture(scope="module")
def mixed_pair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built-in pair, and its draft under other ids with fewer tokens as another draft of it."""
    (made := tmp_path_factory.mktemp("foreign") / "made").mkdir()
    write_foreign_pair(made)
    folder = pair_with_drafts(tmp_path_factory.mktemp("pairs") / "lamps", {}).folder
    for file, name in (("draft.onnx", "foreign.onnx"), ("draft-tokenizer.json", "draft-tokenizer.json")):
        (folder / name).write_bytes((made / file).read_bytes())
    manifest = folder / MANIFEST
    manifest.write_text(manifest.read_text().replace("[exit]", f"{_FOREIGN}\n[exit]"))
    return folder


@pytest.mark.slow
def test_every_device_gets_the_targets_own_answers(mixed_pair: Path) -> None:
    figures = bench("mixed", "--pair", str(mixed_pair), "--answers", "2", "--tokens", "24")
    devices: dict[str, dict[str, Any]] = figures["devices"]
    assert list(devices) == ["default", "foreign", "ngram", "stream"]
    assert (figures["exact_answers"], figures["answers"]) == (8, 8)
    for device in devices.values():
        assert (device["answers"], device["exact_answers"]) == (2, 2)
        assert device["tokens_per_s"] > 0
        assert device["accepted"] <= device["drafted"]
    assert devices["default"]["acceptance"] > 0.2
    assert devices["foreign"]["acceptance"] > 0.2
    assert devices["default"]["accepted"] > 0
    assert (devices["stream"]["drafted"], devices["stream"]["acceptance"]) == (0, None)


@pytest.mark.slow
def test_an_answer_that_differs_is_counted_and_told_by_the_status(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pair = pair_with_drafts(tmp_path / "lamps", {})
    told = truth_of

    def of_another(pair_: Any, *rest: Any) -> Any:
        return told(load_pair(str(other.folder)), *rest)

    other = pair_with_drafts(tmp_path / "other", {})
    _change_target(other.folder)
    monkeypatch.setattr(mixed, "truth_of", of_another)
    assert not mixed.run(str(pair.folder), 1, 8, as_json=True)
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert figures["exact_answers"] < figures["answers"] == 3


def _change_target(folder: Path) -> None:
    """Other weights than those that the hub serves."""
    from safetensors.torch import load_file, save_file

    file = folder / "target" / "model.safetensors"
    weights = load_file(file)
    name = next(name for name in weights if name.endswith("norm.weight"))
    weights[name] = -weights[name]
    save_file(weights, file, {"format": "pt"})


def test_a_draft_that_is_called_as_a_device_without_a_model_is_refused(tmp_path: Path) -> None:
    pair = pair_with_drafts(tmp_path / "lamps", {"ngram": Extra(b"x")})
    with pytest.raises(PairError, match="rename it"):
        mixed.run(str(pair.folder), 1, 8, as_json=False)
