from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from shared.pair import MANIFEST, load_pair
from tools.exits.manifest import record
from tools.home import assemble as assembling


def test_an_assembled_pair_is_the_built_in_one_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = load_pair("home")
    assert home.draft is not None
    monkeypatch.setattr(assembling, "export_draft", lambda checkpoint, out, bits: shutil.copyfile(checkpoint, out))
    assembling.assemble(tmp_path, tokenizer=home.tokenizer, target=Path(home.target), draft=home.draft)
    assert home.exit_head is not None
    shutil.copy(home.exit_head, tmp_path)
    record(tmp_path / MANIFEST, home.exit_head.name)
    assert load_pair(str(tmp_path)).sha256 == home.sha256
    assert (tmp_path / MANIFEST).read_text() == (home.folder / MANIFEST).read_text()
