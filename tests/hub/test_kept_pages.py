"""Pages that several sessions had in common outlive the hub; a file that is damaged, or of another hub, is of no use to anybody."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from hub.kv import kept_pages
from hub.kv.kept_pages import KeptPages
from hub.kv.kv_cache import KVCache
from hub.kv.pages import OutOfPages, PagePool, page_key

CPU = torch.device("cpu")
BITS = "weights 1 · 2 threads"


class Hub:
    """Pages, and what they hold."""

    def __init__(self, folder: Path | None, bits: str = BITS, *, heads: int = 2, pages: int = 8) -> None:
        self.pool = PagePool(pages)
        self.cache = KVCache(3, pages, heads, 4, torch.float32, CPU)
        self.kept = KeptPages(folder, bits, self.pool, self.cache)

    def compute(self, keys: list[bytes]) -> None:
        """Fill a page for each key, and let go of all of them."""
        table: list[int] = []
        for key in keys:
            page = self.pool.take()
            self.cache.page(page).copy_(of(key))
            self.pool.register(page, key, "pi")
            table.append(page)
        for page in table:
            self.pool.drop(page)

    def find(self, keys: list[bytes], by: str = "jetson") -> list[torch.Tensor]:
        """What is found of a text's pages, one behind the other."""
        held = []
        for key in keys:
            page = self.pool.share(key)
            if page is None:
                break
            held.append(page)
        self.pool.found(keys[: len(held)], by)
        for page in held:
            self.pool.drop(page)
        return [self.cache.page(page).clone() for page in held]


def of(key: bytes) -> torch.Tensor:
    generator = torch.Generator().manual_seed(key[0] + 256 * key[1])
    return torch.randn(2, 3, 16, 2, 4, generator=generator)


def text(beginning: int, pages: int) -> list[bytes]:
    keys = [page_key(b"group", [beginning] * 16)]
    while len(keys) < pages:
        keys.append(page_key(keys[-1], [1] * 16))
    return keys


def test_what_was_found_is_found_after_a_restart_and_nothing_else(tmp_path: Path) -> None:
    first = Hub(tmp_path / "pages")
    common, chat = text(1, 3), text(2, 2)
    first.compute(common)
    first.compute(chat)
    assert len(first.find(common)) == 3
    assert len(first.find(chat, by="pi")) == 2  # who went on with it in another session
    first.kept.save()
    second = Hub(tmp_path / "pages")
    assert second.kept.load() == 3
    for key, found in zip(common, second.find(common), strict=True):
        assert torch.equal(found, of(key))
    assert second.find(chat) == []
    second.pool.check_integrity([])
    assert (tmp_path / "pages").stat().st_mode & 0o777 == 0o700


def test_with_too_little_room_the_first_pages_of_the_text_found_last_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Hub(tmp_path)
    old, new = text(1, 3), text(2, 3)
    first.compute(old)
    first.compute(new)
    first.find(old)
    first.find(new)
    monkeypatch.setattr(kept_pages, "_MOST_BYTES", 4 * first.cache.page(0).nbytes)
    first.kept.save()
    second = Hub(tmp_path)
    second.kept.load()
    assert (len(second.find(new)), len(second.find(old))) == (3, 1)


def test_a_hub_with_few_pages_reads_half_as_many(tmp_path: Path) -> None:
    first, keys = Hub(tmp_path), text(1, 4)
    first.compute(keys)
    first.find(keys)
    first.kept.save()
    small = Hub(tmp_path, pages=4)
    assert small.kept.load() == 2
    assert len(small.find(keys)) == 2
    small.pool.check_integrity([])


def test_a_page_that_was_taken_for_another_text_is_not_kept(tmp_path: Path) -> None:
    first, keys = Hub(tmp_path, pages=2), text(1, 2)
    first.compute(keys)
    first.find(keys)
    table: list[int] = []
    first.pool.grow(table, 20)
    with pytest.raises(OutOfPages):
        first.pool.take()
    first.kept.save()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("change", ["bits", "shape", "cut", "changed", "missing"])
def test_what_does_not_fit_is_not_read(change: str, tmp_path: Path) -> None:
    first, keys = Hub(tmp_path), text(1, 2)
    first.compute(keys)
    first.find(keys)
    first.kept.save()
    (file,) = tmp_path.iterdir()
    content = bytearray(file.read_bytes())
    if change == "cut":
        file.write_bytes(content[:-100])
    elif change == "changed":
        content[-1] ^= 1
        file.write_bytes(content)
    elif change == "missing":
        file.unlink()
    other = Hub(tmp_path, "others" if change == "bits" else BITS, heads=4 if change == "shape" else 2)
    assert other.kept.load() == 0
    assert other.find(keys) == []
    assert file.exists() == (change in ("bits", "shape"))


def test_without_a_folder_or_a_disk_nothing_is_kept(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    for folder in (None, tmp_path / "file"):
        hub, keys = Hub(folder), text(1, 1)
        hub.compute(keys)
        hub.find(keys)
        hub.kept.save()
        assert hub.kept.load() == 0


def test_of_what_was_read_the_ends_of_texts_go_first(tmp_path: Path) -> None:
    first, keys = Hub(tmp_path), text(1, 4)
    first.compute(keys)
    first.find(keys)
    first.kept.save()
    second = Hub(tmp_path)
    second.kept.load()
    table: list[int] = []
    second.pool.grow(table, 5 * 16)
    assert len(second.find(keys)) == 3
