"""A service that comes to use another draft between two answers, and goes back where that draft is none."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import onnx
import pytest

from edge_node.delivery.hub_files import HubFiles
from edge_node.delivery.store import PairStore
from shared.pair import load_pair
from tests.waiting import wait_until
from tools.demo import node_command
from tools.rig.drafts import Extra, pair_with_drafts
from tools.rig.household import Household, running_service
from tools.rig.testbed import HUB, HubBed, running_hub

pytestmark = pytest.mark.slow

REQUEST = "turn on the kitchen lights"
OPTIONS = ["--pair", "lamps", "--mode", "speculate"]


def other_graph() -> bytes:
    """A draft that drafts as the built-in one does, and is another file."""
    draft = load_pair("home").draft
    assert draft is not None
    graph = onnx.load(str(draft.model))
    graph.doc_string = "another one"
    return bytes(graph.SerializeToString())


@contextmanager
def serving(folder: Path, **drafts: Extra) -> Iterator[HubBed]:
    """A hub that offers those drafts too."""
    pair = pair_with_drafts(folder / "lamps", drafts)
    options = ["--threads", "1", "--kv-memory", "64M"]
    with running_hub(["pi"], str(pair.folder), options, homes=["house"]) as running:
        for name in drafts:
            offered(running, name)
        yield running


@pytest.fixture(scope="module")
def bed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubBed]:
    """A hub that offers another draft."""
    with serving(tmp_path_factory.mktemp("other"), other=Extra(other_graph())) as running:
        yield running


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubBed]:
    """A hub that offers one that is none beside it."""
    drafts = {"other": Extra(other_graph()), "broken": Extra(b"no graph" * 1000, acceptance=0.99)}
    with serving(tmp_path_factory.mktemp("broken"), **drafts) as running:
        yield running


@pytest.fixture(autouse=True)
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The device has fetched nothing yet."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


def offered(bed: HubBed, draft: str) -> None:
    with closing(HubFiles(bed.broker.settings("pi"), "pi")) as files:
        wait_until(lambda: HUB in (seen := files.offers().offers) and draft in seen[HUB].drafts)


def pull(bed: HubBed, draft: str) -> None:
    command = node_command(bed.broker.settings("pi"), "pi", "pull", "--pair", "lamps", "--draft", draft)
    subprocess.run(command, check=True, timeout=60, env=dict(os.environ), capture_output=True)


def in_use() -> list[str]:
    return list(load_pair("lamps").drafts)


def answer(house: Household, **fields: Any) -> str:
    said = house.answer(house.ask(REQUEST, temperature=0.0, **fields))
    assert said["finish"] == "end", said
    return str(said["text"])


def test_a_service_fetches_a_better_draft_and_goes_back_from_one_that_is_none(
    bed: HubBed, broken: HubBed, tmp_path: Path
) -> None:
    pull(bed, "default")
    store, log = PairStore("lamps"), tmp_path / "service.log"
    with (
        running_service(bed.broker.settings("pi"), "pi", log, OPTIONS) as process,
        closing(Household(bed.broker.settings("house"), "house", "pi")) as house,
    ):
        expected = answer(house, chat="one")
        wait_until(lambda: "draft other of lamps has come from hub" in log.read_text(), 60)
        assert in_use() == ["other"]
        assert not store.is_proven
        assert answer(house, chat="one") == expected
        wait_until(lambda: store.is_proven)
        assert (
            len([path for path in store.folder.iterdir() if (path / "pair.toml").exists() and not path.is_symlink()])
            == 1
        )
        assert process.poll() is None
    assert "mistake in the program" not in log.read_text()

    with (
        running_service(broken.broker.settings("pi"), "pi", log, OPTIONS) as process,
        closing(Household(broken.broker.settings("house"), "house", "pi")) as house,
    ):
        assert answer(house) == expected
        wait_until(lambda: "can't be used" in log.read_text(), 60)
        assert "the one before is used again" in log.read_text()
        assert in_use() == ["other"]
        assert answer(house) == expected
        assert process.poll() is None


def test_a_program_that_begins_with_a_draft_that_is_none_goes_back(broken: HubBed) -> None:
    pull(broken, "default")
    pull(broken, "broken")
    assert in_use() == ["broken"]
    command = node_command(broken.broker.settings("pi"), "pi", "ask", "--pair", "lamps", "--wait", "30", REQUEST)
    said = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert said.stdout.startswith('{"name":"HassTurnOn"')
    assert said.stderr.count("the one before is used again") == 1
    assert in_use() == ["default"]
    assert PairStore("lamps").is_proven


def test_a_service_fetches_a_pair_that_is_not_there(bed: HubBed, tmp_path: Path) -> None:
    log = tmp_path / "service.log"
    with (
        running_service(bed.broker.settings("pi"), "pi", log, [*OPTIONS, "--draft", "other"]),
        closing(Household(bed.broker.settings("house"), "house", "pi")) as house,
    ):
        assert "the pair 'lamps' is not here; a hub is asked for it" in log.read_text()
        assert answer(house).startswith('{"name":"HassTurnOn"')
        assert in_use() == ["other"]
