"""What is kept of fetched pairs, and what a hub's offer may name."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from edge_node.delivery.offer import OfferedDraft, OfferedFile, read_offer
from edge_node.delivery.part import Part
from edge_node.delivery.store import PairStore
from shared.errors import DeliveryError, PairError, ProtocolError
from shared.pair import load_pair, pulled_pairs
from tests.full_disk import full_disk

HASH = "ab" * 32


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PairStore:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return PairStore("lamps")


def file(path: str, content: bytes) -> OfferedFile:
    return OfferedFile(path, len(content), hashlib.sha256(content).digest())


def install(store: PairStore, content: bytes) -> OfferedDraft:
    """A version whose files come whole."""
    wanted = {file("pair.toml", content): content, file("sub/draft.onnx", content * 2): content * 2}
    draft = OfferedDraft("default", None, None, tuple(wanted))
    places = {}
    for each, data in wanted.items():
        part = Part(store.parts, each)
        part.append(data)
        part.close()
        places[each.path] = part.path
    store.install(draft, places)
    return draft


def versions(store: PairStore) -> set[str]:
    return {path.name for path in store.folder.iterdir() if path.is_dir() and not path.is_symlink()}


def test_the_one_before_stays_until_the_new_one_has_answered(store: PairStore) -> None:
    first, second, third = (install(store, content) for content in (b"1", b"2", b"3"))
    assert store.has(third)
    assert not store.is_proven
    assert versions(store) == {first.version, third.version}, "the second one never answered"
    store.prove()
    assert store.is_proven
    assert versions(store) == {third.version}
    assert not store.has(second)


def test_going_back_remembers_what_has_failed(store: PairStore) -> None:
    first = install(store, b"1")
    assert store.is_proven
    second = install(store, b"2")
    store.go_back()
    assert store.has(first)
    assert store.is_proven
    assert (store.has_failed(first), store.has_failed(second)) == (False, True)
    assert versions(store) == {first.version}
    store.forgive()
    assert not store.has_failed(second)


def test_a_file_of_the_version_in_use_is_found_again(store: PairStore) -> None:
    install(store, b"1")
    assert store.find(file("sub/draft.onnx", b"11")) is not None
    assert store.find(file("sub/draft.onnx", b"12")) is None
    assert store.find(file("other", b"11")) is None


def test_one_program_fetches_at_a_time(store: PairStore) -> None:
    with store.locked(), pytest.raises(DeliveryError, match="another program fetches"), PairStore("lamps").locked():
        pass
    with store.locked():
        install(store, b"1")
        install(store, b"2")
        store.prove()  # while another fetches, nothing is removed
        assert not store.is_proven


def test_a_disk_without_room_is_known_before(store: PairStore) -> None:
    with store.locked():
        store.require_room(1000)
        with pytest.raises(DeliveryError, match="make room, or choose a smaller one"):
            store.require_room(2**60)


def test_a_part_goes_on_where_it_was(store: PairStore) -> None:
    content = bytes(range(256)) * 100
    wanted = file("draft.onnx", content)
    part = Part(store.parts, wanted)
    with full_disk(10_000), pytest.raises(DeliveryError, match="cannot keep .*; what has come so far is kept"):
        part.append(content)
    part.close()
    part = Part(store.parts, wanted)
    assert part.size == 10_000
    part.append(content[10_000:])
    part.sync(least=0)
    assert part.is_right
    part.append(b"!")
    part.close()
    assert Part(store.parts, wanted).size == 0, "a file that is too long begins anew"


def test_a_pulled_pair_is_found_by_its_name_behind_folders_and_built_in_ones(
    store: PairStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(PairError, match="none was fetched"):
        load_pair("lamps")
    install(store, b'schema = 9\nname = "lamps"\n')
    assert pulled_pairs() == ["lamps"]
    with pytest.raises(PairError, match=r"data/sled/pairs/lamps/[0-9a-f]{16}/pair.toml has schema 9"):
        load_pair("lamps")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lamps").mkdir()
    (tmp_path / "lamps" / "pair.toml").write_text("schema = 8")
    with pytest.raises(PairError, match="has schema 8"):
        load_pair("lamps")
    assert load_pair("home").folder.name == "home"


def offer(**changes: Any) -> bytes:
    told = {
        "format": 1, "delivers": True, "pair": "lamps", "tokenizer": "00" * 16,
        "files": {"tokenizer.json": [10, HASH], "sub/draft.onnx": [20, HASH]},
        "drafts": {"pi4": {"acceptance": 0.5, "step_bytes": 7, "manifest": [5, HASH], "files": ["tokenizer.json"]}},
    }  # fmt: skip
    return json.dumps(told | changes).encode()


def draft_with(**changes: Any) -> dict[str, Any]:
    return {"pi4": {"manifest": [5, HASH], "files": ["tokenizer.json"], **changes}}


def test_an_offer_is_read() -> None:
    read = read_offer(offer())
    assert (read.pair, read.delivers, list(read.drafts)) == ("lamps", True, ["pi4"])
    draft = read.drafts["pi4"]
    assert (draft.acceptance, draft.step_bytes, draft.version) == (0.5, 7, HASH[:16])
    assert [(each.path, each.size) for each in draft.files] == [("pair.toml", 5), ("tokenizer.json", 10)]
    assert not read_offer(offer(delivers=False)).delivers


@pytest.mark.parametrize(
    "payload",
    [
        b"", b"[]", b"{}", b" " * 70_000, offer(format=2), offer(pair="../x"), offer(pair=7), offer(files=[]),
        *(offer(files={path: [1, HASH]}) for path in ("../x", "/x", "a/../x", "a//b", "./a", ".", "", "a\nb", "x" * 300, "pair.toml")),
        *(offer(files={"tokenizer.json": fact}) for fact in ([1], [-1, HASH], [True, HASH], [2**41, HASH], [1, "ab"], [1, "x" * 64], "x")),
        *(offer(drafts=draft_with(**wrong)) for wrong in (
            {"files": ["other"]}, {"files": 7}, {"manifest": None}, {"acceptance": 1.5}, {"acceptance": True}, {"step_bytes": -1},
        )),
    ],
)  # fmt: skip
def test_an_offer_that_is_none_is_refused(payload: bytes) -> None:
    with pytest.raises(ProtocolError):
        read_offer(payload)
