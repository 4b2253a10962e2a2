"""A node whose pair was pulled, and another version of it that comes: what its conversations are made of, and the way back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from edge_node.assembly import Node
from edge_node.delivery.offer import OfferedDraft, OfferedFile
from edge_node.delivery.store import PairStore
from edge_node.settings import NodeSettings
from shared.errors import PairError
from shared.file_hash import sha256_of
from shared.pair import MANIFEST, Pair, load_pair
from tools.rig.drafts import Extra, pair_with_drafts


def install(pair: Pair) -> str:
    """Have a whole pair in the store, as if it had been fetched; the version."""
    paths = [pair.folder / MANIFEST, *(path for draft in pair.drafts.values() for path in pair.device_files(draft))]
    if pair.exit_head is not None:
        paths.append(pair.exit_head)
    by_name = {path.relative_to(pair.folder).as_posix(): path for path in paths}
    files = tuple(OfferedFile(name, path.stat().st_size, sha256_of(path)) for name, path in by_name.items())
    draft = OfferedDraft("default", None, None, files)
    PairStore(pair.name).install(draft, by_name)
    return draft.version


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PairStore:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return PairStore("lamps")


@pytest.fixture
def first(store: PairStore, tmp_path: Path) -> str:
    return install(pair_with_drafts(tmp_path / "one" / "lamps", {}))


@pytest.fixture
def node(first: str) -> Iterator[Node]:
    with closing(Node(NodeSettings(name="pi", pair="lamps"))) as running:
        yield running


def other(tmp_path: Path) -> Pair:
    """Another version with the same draft under two names."""
    draft = load_pair("home").draft
    assert draft is not None
    return pair_with_drafts(tmp_path / "two" / "lamps", {"other": Extra(draft.model.read_bytes(), 0.9)})


def test_conversations_are_renewed_once_there_is_another_version(node: Node, store: PairStore, tmp_path: Path) -> None:
    old = node.conversation()
    assert node.renewed(old) is old
    second = install(other(tmp_path))
    assert node.renewed(old) is old, "nobody has told the node"
    assert node.renew()
    fresh = node.renewed(old)
    assert fresh is not old
    assert node.renewed(fresh) is fresh
    assert not store.is_proven
    node.answered(fresh)
    assert store.is_proven
    assert store.current is not None
    assert store.current.name == second


def test_an_answer_by_the_old_draft_proves_nothing(node: Node, store: PairStore, tmp_path: Path) -> None:
    old = node.conversation()
    install(other(tmp_path))
    node.renew()
    node.answered(old)
    node.failed(old, RuntimeError("of something else"))
    assert not store.is_proven


def test_a_draft_that_fails_in_its_first_answer_gives_way_to_the_one_before(
    node: Node, store: PairStore, first: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    install(other(tmp_path))
    node.renew()
    new = node.conversation()
    node.failed(new, RuntimeError("it broke"))
    assert capsys.readouterr().err == (
        "the draft that was fetched last can't be used (it broke); the one before is used again\n"
    )
    assert store.current is not None
    assert store.current.name == first
    back = node.renewed(new)
    assert back is not new
    node.failed(back, RuntimeError("it broke again"))
    assert store.current.name == first, "there is nothing to go back to"


def test_another_tokenizer_waits_for_the_next_start(node: Node, tmp_path: Path) -> None:
    old = node.conversation()
    pair = other(tmp_path)
    pair.tokenizer.write_bytes(pair.tokenizer.read_bytes() + b"\n")
    manifest = pair.folder / MANIFEST
    text = manifest.read_text().replace(pair.sha256["tokenizer.json"], sha256_of(pair.tokenizer).hex())
    manifest.write_text(text)
    install(load_pair(str(pair.folder)))
    assert not node.renew()
    assert node.renewed(old) is old


def test_a_draft_is_chosen_by_its_name_or_by_what_is_known_of_it(tmp_path: Path) -> None:
    pair = other(tmp_path)
    settings = NodeSettings(name="pi", pair=str(pair.folder))
    for wanted, chosen in (("auto", "other"), ("other", "other"), ("default", "draft")):
        with closing(Node(replace(settings, draft=wanted))) as node:
            assert node.conversation() is not None
            model = node._loaded.model
            assert model is not None
            assert model.graph.path.stem == chosen
            assert node.store is None
    with pytest.raises(PairError, match="has no draft 'nope' here; there are: default, other; fetch one with"):
        Node(replace(settings, draft="nope"))
