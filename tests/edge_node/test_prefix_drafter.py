"""A draft model whose K/V of a system message survive on disk: the same drafts, for less work."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edge_node.assembly import connected
from edge_node.dialogue.answer import Answer
from edge_node.dialogue.generation import Generation
from edge_node.dialogue.tokenizer import ChatTokenizer, Turn
from edge_node.drafting import prefix_drafter
from edge_node.drafting.drafter import Guess
from edge_node.drafting.onnx_drafter import OnnxDrafter
from edge_node.drafting.prefix_drafter import PrefixDrafter
from edge_node.drafting.prefix_files import PrefixFiles, files_of
from edge_node.settings import DrafterKind, Mode
from hub.export.export import export_draft
from shared.pair import load_pair
from shared.sampling_parameters import Sampling
from tests import models
from tools.rig.testbed import HubBed

SYSTEM = "Areas: " + ", ".join(f"room {number}" for number in range(40))
SAMPLING = Sampling(temperature=0.9, seed=5)


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("draft")
    export_draft(Path(models.save(models.llama(), folder / "checkpoint")), folder / "draft.onnx")
    return folder / "draft.onnx"


@pytest.fixture
def _pays(monkeypatch: pytest.MonkeyPatch) -> None:
    """Models this small are not worth a file."""
    monkeypatch.setattr(prefix_drafter, "_LEAST_S", 0.0)
    monkeypatch.setattr(prefix_drafter, "_DISK", 1e18)


@pytest.fixture
def fed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of ids of every run of a draft model."""
    counts: list[int] = []
    feed = OnnxDrafter.feed

    def counting(drafter: OnnxDrafter, ids: Sequence[int]) -> object:
        counts.append(len(ids))
        return feed(drafter, ids)

    monkeypatch.setattr(OnnxDrafter, "feed", counting)
    return counts


def started(graph: Path, folder: Path) -> tuple[OnnxDrafter, PrefixDrafter]:
    """A node that was just started."""
    model = OnnxDrafter(graph)
    return model, PrefixDrafter(model, PrefixFiles(folder / "prefixes", "draft", model.bytes_per_id))


def take(draft: Iterator[Guess | None], count: int) -> list[Guess]:
    guesses: list[Guess] = []
    while len(guesses) < count:
        guess = next(draft)
        if guess is not None:
            guesses.append(guess)
    return guesses


def ids_of(count: int, seed: int = 0) -> list[int]:
    return [int(i) for i in np.random.default_rng(seed).integers(2, models.VOCAB, size=count)]


def test_kv_that_were_given_out_are_as_good_as_computed(graph: Path) -> None:
    ids, others = ids_of(60), ids_of(30, seed=1)
    first, second, untouched = (OnnxDrafter(graph) for _ in range(3))
    first.feed(ids)
    assert first.bytes_per_id == first.kv(1).nbytes
    draft, expected = (drafter.draft(others, SAMPLING) for drafter in (second, untouched))
    assert take(draft, 2) == take(expected, 2)
    second.adopt(ids[:50], first.kv(50))
    assert second.held == tuple(ids[:50])
    assert np.array_equal(second.kv(50), first.kv(50))
    np.testing.assert_allclose(second.feed(ids[50:]), OnnxDrafter(graph).feed(ids), rtol=0, atol=1e-4)
    again, going_on = take(draft, 3), take(expected, 3)
    assert [guess.token for guess in again] == [guess.token for guess in going_on], "a draft from before goes on"


def test_kv_of_another_size_are_refused(graph: Path) -> None:
    model = OnnxDrafter(graph)
    model.feed([5, 6, 7])
    with pytest.raises(ValueError, match="no K/V of 4 ids: the cache holds 3"):
        model.kv(4)
    with pytest.raises(ValueError, match="reshape"):
        model.adopt([5, 6], model.kv(3))
    with pytest.raises(ValueError, match=f"do not fit the draft's context of {models.CONTEXT}"):
        model.adopt([5] * (models.CONTEXT + 1), model.kv(3))
    assert model.held == (5, 6, 7)


@pytest.mark.usefixtures("_pays")
def test_the_next_run_drafts_the_same_and_feeds_only_the_rest(graph: Path, tmp_path: Path, fed: list[int]) -> None:
    system, request = ids_of(100), ids_of(20, seed=1)
    _, first = started(graph, tmp_path)
    expected = take(first.draft([*system, *request], SAMPLING), 8)
    assert sum(fed) == 100 + 20 + 7
    first.keep(system)
    fed.clear()
    _, second = started(graph, tmp_path)
    guesses = take(second.draft([*system, *request], SAMPLING), 8)
    assert sum(fed) == 20 + 7
    assert [guess.token for guess in guesses] == [guess.token for guess in expected]
    assert [g.confidence for g in guesses] == pytest.approx([g.confidence for g in expected], rel=1e-4)
    fed.clear()
    take(second.draft([*system, *ids_of(10, seed=2)], SAMPLING), 1)
    assert sum(fed) == 10, "what is held is not read again"


@pytest.mark.usefixtures("_pays")
def test_reading_goes_on_over_drafts_that_are_given_up(
    graph: Path, tmp_path: Path, fed: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_node.drafting.prefix_files._PIECE", 4000)
    text = ids_of(120)
    _, first = started(graph, tmp_path)
    take(first.draft(text, SAMPLING), 1)
    first.keep(text[:100])
    fed.clear()
    _, second = started(graph, tmp_path)
    for streamed in range(10):
        assert next(second.draft([*text, *range(5, 5 + streamed)], SAMPLING)) is None
    assert fed == []
    take(second.draft([*text, *range(5, 15)], SAMPLING), 1)
    assert sum(fed) == 30


@pytest.mark.usefixtures("_pays")
def test_half_a_system_message_is_kept_and_goes_on_in_the_next_run(graph: Path, tmp_path: Path, fed: list[int]) -> None:
    text = ids_of(120)
    model, drafter = started(graph, tmp_path)
    draft = drafter.draft(text, SAMPLING)
    next(draft)
    half = len(model.held)
    assert 0 < half < 100
    drafter.keep(text[:100])
    model, drafter = started(graph, tmp_path)
    fed.clear()
    take(drafter.draft(text, SAMPLING), 1)
    assert sum(fed) == 120 - half
    drafter.keep(text[:100])
    _, drafter = started(graph, tmp_path)
    fed.clear()
    take(drafter.draft(text, SAMPLING), 1)
    assert sum(fed) == 20
    assert len(list((tmp_path / "prefixes").iterdir())) == 1


def test_what_is_computed_as_fast_as_read_is_not_kept(
    graph: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, drafter = started(graph, tmp_path)
    drafter.keep(ids_of(100))
    take(drafter.draft(ids_of(120), SAMPLING), 1)
    monkeypatch.setattr(OnnxDrafter, "prefill_s", 0.0001)
    drafter.keep(ids_of(100))
    assert not (tmp_path / "prefixes").exists()
    monkeypatch.setattr(OnnxDrafter, "prefill_s", 0.01)
    drafter.keep(ids_of(120)[:9])
    assert not (tmp_path / "prefixes").exists()
    drafter.keep(ids_of(120)[:15])
    (file,) = (tmp_path / "prefixes").iterdir()
    drafter.keep(ids_of(120)[:20])
    assert list((tmp_path / "prefixes").iterdir()) == [file], "five ids more are not worth another"
    monkeypatch.setattr(OnnxDrafter, "prefill_s", model.bytes_per_id / prefix_drafter._DISK)
    drafter.keep(ids_of(120)[:110])
    assert list((tmp_path / "prefixes").iterdir()) == [file]


@pytest.mark.usefixtures("_pays")
@pytest.mark.parametrize("size", [0, 5_000, None])
def test_a_damaged_file_is_replaced(
    graph: Path, tmp_path: Path, fed: list[int], caplog: pytest.LogCaptureFixture, size: int | None
) -> None:
    text = ids_of(120)
    _, drafter = started(graph, tmp_path)
    expected = take(drafter.draft(text, SAMPLING), 5)
    drafter.keep(text[:100])
    (file,) = (tmp_path / "prefixes").iterdir()
    whole = file.read_bytes()
    file.write_bytes(whole[:size] if size is not None else bytes(len(whole)))
    _, drafter = started(graph, tmp_path)
    fed.clear()
    with caplog.at_level(logging.WARNING):
        assert take(drafter.draft(text, SAMPLING), 5) == expected
    assert sum(fed) == 124
    assert len(caplog.records) == 1
    drafter.keep(text[:100])
    assert file.read_bytes() == whole


@pytest.mark.usefixtures("_pays")
def test_a_device_without_room_goes_on(graph: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "prefixes").write_text("")
    _, drafter = started(graph, tmp_path)
    for _ in range(2):
        take(drafter.draft(ids_of(120), SAMPLING), 5)
        drafter.keep(ids_of(120)[:100])
    assert caplog.text.count("no K/V are kept on disk") == 1


def test_the_beginning_of_all_chats() -> None:
    tokenizer = ChatTokenizer(load_pair("home"))
    beginning = tokenizer.beginning([Turn("system", SYSTEM)])
    assert tokenizer.decode(beginning) == SYSTEM
    for request in ("hello", "\n\nhello", "1", "ä"):
        prompt = tokenizer.prompt([Turn("system", SYSTEM), Turn("user", request)])
        assert prompt[: len(beginning)] == beginning
        assert len(prompt) > len(beginning)


def test_a_graph_is_known_by_its_hash_or_else_by_its_time(graph: Path, tmp_path: Path) -> None:
    pair = load_pair("home")
    recorded = replace(pair, folder=graph.parent, drafts={}, sha256={"draft.onnx": "12ab"})
    model = OnnxDrafter(graph)
    assert files_of(recorded, model)._graph == files_of(recorded, model)._graph
    assert files_of(recorded, model)._graph != files_of(replace(recorded, sha256={}), model)._graph
    assert files_of(recorded, model)._graph != files_of(replace(recorded, sha256={"draft.onnx": "12ac"}), model)._graph


@pytest.mark.slow
@pytest.mark.usefixtures("_pays")
@pytest.mark.parametrize("kind", [DrafterKind.MODEL, DrafterKind.AUTO])
def test_a_second_node_does_not_take_in_the_system_message(
    bed: HubBed, kind: DrafterKind, tmp_path: Path, fed: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    settings = bed.node("node-0", mode=Mode.SPECULATE, drafter=kind)
    tokenizer = ChatTokenizer(load_pair("home"))
    beginning = len(tokenizer.beginning([Turn("system", SYSTEM)]))
    texts, most = [], []
    for _ in range(2):
        fed.clear()
        with connected(settings, SYSTEM) as conversation:
            for request in ("turn on the lights in room 7", "and now turn off the fan"):
                answer = Answer()
                texts.append("".join(conversation.ask(request, Generation(temperature=0.0, max_tokens=30), answer)))
        most.append(sum(fed))
    assert texts[:2] == texts[2:]
    assert most[0] > beginning > 150
    assert most[1] < most[0] - beginning / 2
