"""Where a hub's libraries keep their files when the usual places can't be written."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from hub.scratch import find_scratch


@pytest.fixture(autouse=True)
def _as_it_was(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for name in ("TRITON_CACHE_DIR", "TRITON_HOME"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


def test_a_home_that_can_be_written_stays_in_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    find_scratch()
    assert "TRITON_CACHE_DIR" not in os.environ
    assert tempfile.gettempdir() == str(tmp_path)
    assert not list(tmp_path.iterdir()), "nothing is made before it is needed"


def test_kernels_go_elsewhere_where_home_is_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("HOME", str(tmp_path / "file"))
    find_scratch()
    assert Path(os.environ["TRITON_CACHE_DIR"]).parent == tmp_path


def test_what_was_chosen_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/dev/null")
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path / "kernels"))
    find_scratch()
    assert os.environ["TRITON_CACHE_DIR"] == str(tmp_path / "kernels")
