"""K/V on disk: what was kept comes back bit by bit or not at all, and files stay few and private."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from edge_node.drafting import prefix_files
from edge_node.drafting.prefix_files import PrefixFiles

WIDTH = 48  # numbers of an id


def some_kv(count: int, seed: int = 0) -> npt.NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=(4, 3, count, 4)).astype(np.float32)


def files_in(folder: Path, graph: str = "draft") -> PrefixFiles:
    return PrefixFiles(folder / "prefixes", graph, 4 * WIDTH)


def read(files: PrefixFiles, ids: Sequence[int]) -> tuple[tuple[int, ...], npt.NDArray[np.float32]] | None:
    reading = files.find(ids)
    if reading is None:
        return None
    while reading.advance():
        pass
    return reading.ids, reading.kv()


def test_what_is_kept_comes_back_for_texts_that_begin_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prefix_files, "_PIECE", 1000)
    files, ids, kv = files_in(tmp_path), list(range(50)), some_kv(50)
    assert read(files, ids) is None
    files.keep(ids, kv)
    for text in (ids, [*ids, 7, 8]):
        found = read(files_in(tmp_path), text)
        assert found is not None
        assert found[0] == tuple(ids)
        assert np.array_equal(found[1], kv.ravel())
    for text in (ids[:49], [*ids[:49], 7], [1, *ids], []):
        assert read(files, text) is None
    assert read(files_in(tmp_path, "another draft"), ids) is None


def test_a_longer_beginning_takes_the_place_of_a_shorter(tmp_path: Path) -> None:
    files, ids = files_in(tmp_path), list(range(50))
    files.keep([7, 8, 9], some_kv(3))
    files.keep(ids[:20], some_kv(20))
    files.keep(ids, some_kv(50))
    assert read(files, ids[:20]) is None
    assert read(files, [7, 8, 9]) is not None
    assert len(list((tmp_path / "prefixes").iterdir())) == 2


def test_nobody_else_can_read_it(tmp_path: Path) -> None:
    files_in(tmp_path).keep([1, 2], some_kv(2))
    (file,) = (tmp_path / "prefixes").iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("size", [0, 1, 50 * 4 * WIDTH, 50 * 4 * WIDTH + 3, 50 * 4 * WIDTH + 5, 2**40])
def test_a_file_of_another_size_is_removed(tmp_path: Path, size: int) -> None:
    files, ids = files_in(tmp_path), list(range(50))
    files.keep(ids, some_kv(50))
    (file,) = (tmp_path / "prefixes").iterdir()
    os.truncate(file, size)
    assert read(files, ids) is None
    assert not file.exists()


@pytest.mark.parametrize("at", [0, 9_000, 50 * 4 * WIDTH - 1, 50 * 4 * WIDTH])
def test_a_file_of_another_content_is_refused(tmp_path: Path, at: int) -> None:
    files, ids = files_in(tmp_path), list(range(50))
    files.keep(ids, some_kv(50))
    (file,) = (tmp_path / "prefixes").iterdir()
    content = bytearray(file.read_bytes())
    content[at] ^= 1
    file.write_bytes(content)
    reading = files.find(ids)
    assert reading is not None
    while reading.advance():
        pass
    with pytest.raises(ValueError, match="its checksum is wrong"):
        reading.kv()
    reading.discard()
    assert not file.exists()


def test_a_file_under_the_name_of_another_is_refused(tmp_path: Path) -> None:
    ours, theirs = files_in(tmp_path), files_in(tmp_path / "there", "another draft")
    for files in (ours, theirs):
        files.keep([1, 2, 3], some_kv(3))
    (file,), (other,) = ((tmp_path / part / "prefixes").iterdir() for part in (".", "there"))
    other.replace(file)
    with pytest.raises(ValueError, match="its checksum is wrong"):
        read(ours, [1, 2, 3])


def test_a_file_that_shrinks_while_it_is_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prefix_files, "_PIECE", 1000)
    files, ids = files_in(tmp_path), list(range(50))
    files.keep(ids, some_kv(50))
    reading = files.find(ids)
    assert reading is not None
    assert reading.advance()
    (file,) = (tmp_path / "prefixes").iterdir()
    os.truncate(file, 1500)
    with pytest.raises(ValueError, match="it is cut short"):
        reading.advance()


@pytest.mark.parametrize("most", [{"_MOST_FILES": 3}, {"_MOST_BYTES": 3 * (2 * 4 * WIDTH + 4) + 5}])
def test_what_was_not_used_for_longest_goes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: dict[str, int]
) -> None:
    for name, value in most.items():
        monkeypatch.setattr(prefix_files, name, value)
    files = files_in(tmp_path)
    files.keep([0, 1], some_kv(2))
    for first in range(1, 7):
        for age, file in enumerate(sorted((tmp_path / "prefixes").iterdir(), key=lambda file: -file.stat().st_mtime)):
            os.utime(file, (1e9 - age, 1e9 - age))
        assert read(files, [0, 1]) is not None, "what is used stays"
        (files if first % 2 else files_in(tmp_path, "another draft")).keep([first, 1], some_kv(2))
    assert len(list((tmp_path / "prefixes").iterdir())) == 3
    assert read(files, [5, 1]) is not None
    assert read(files, [3, 1]) is None


def test_what_is_too_large_is_not_taken(tmp_path: Path) -> None:
    most = prefix_files._MOST_BYTES // (4 * WIDTH)
    assert files_in(tmp_path).takes(most - 1)
    assert not files_in(tmp_path).takes(most + 1)


def test_strange_files_are_no_harm(tmp_path: Path) -> None:
    files, ids = files_in(tmp_path), list(range(50))
    files.keep(ids, some_kv(50))
    (file,) = (tmp_path / "prefixes").iterdir()
    graph = file.name.split("-")[0]
    for name in (f"{graph}-x-y.kv", f"{graph}-0-y.kv", f"{graph}-{'9' * 50}-y.kv", f"{graph}--.kv", "-", "tmpabc"):
        (file.parent / name).write_text("?")
    (file.parent / f"{graph}-49-{'0' * 32}.kv").mkdir()
    assert read(files, ids) is not None


def test_half_a_file_is_not_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(file: Path, target: Path) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(OSError, match="the disk is full"):
        files_in(tmp_path).keep([1, 2], some_kv(2))
    assert list((tmp_path / "prefixes").iterdir()) == []
