"""A text without numbers, in every format of numbers: whoever shares a forward, pages or a beginning with it is served as if alone."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from edge_node.rounds.session import NodeSession
from hub.sessions.session import SessionKey
from hub.settings import Weights
from shared.messages import Close, Early, FaultCode, Verdict
from tests import models
from tests.hub.test_poison import POISON, PROMPT, Bench

BEGINNING = [20 + place for place in range(16)]  # of a page
FORMATS = [
    pytest.param((torch.float32, Weights.AUTO, float("-inf")), id="float32, infinite"),
    pytest.param((torch.bfloat16, Weights.AUTO, float("nan")), id="bfloat16"),
    pytest.param((torch.float16, Weights.AUTO, 1e6), id="float16, overflowing"),
    pytest.param((torch.float32, Weights.INT8, float("nan")), id="int8"),
    pytest.param((torch.float32, Weights.INT4, float("nan")), id="int4"),
    pytest.param((torch.float16, Weights.INT8, 1e6), id="int8 and float16, overflowing"),
]


class Formatted:
    """Engines over one checkpoint in one format, and what each text is continued by where nothing is beside it."""

    def __init__(self, checkpoint: str, exit_head: Path, dtype: torch.dtype, weights: Weights) -> None:
        self._checkpoint, self._exit_head, self._dtype, self._weights = checkpoint, exit_head, dtype, weights
        self._truths: dict[tuple[int, ...], list[int]] = {}

    def bench(self, kv_memory: int = 1 << 20) -> Bench:
        return Bench(self._checkpoint, kv_memory, self._exit_head, self._dtype, self._weights)

    def truth(self, ids: list[int], tokens: int) -> list[int]:
        if tuple(ids) not in self._truths:
            bench = self.bench()
            self._truths[tuple(ids)] = bench.continued(*bench.open(1), ids, tokens)
        return self._truths[tuple(ids)]


@pytest.fixture(params=FORMATS, scope="module")
def formatted(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Formatted:
    dtype, weights, value = request.param
    model = models.llama()
    with torch.no_grad():
        model.model.embed_tokens.weight[POISON] = value
    folder = tmp_path_factory.mktemp("target")
    models.exit_head().save(folder / "exit.safetensors")
    return Formatted(models.save(model, folder / "target"), folder / "exit.safetensors", dtype, weights)


def feed(bench: Bench, key: SessionKey, session: NodeSession, ids: list[int]) -> None:
    """Have the hub compute K/V of a text of which nothing is wanted yet."""
    bench.send(key, session.compose(append=ids))
    while bench.engine.has_work:
        bench.engine.step()


def test_it_ends_alone_beside_others(formatted: Formatted) -> None:
    truth = formatted.truth(PROMPT, 12)
    bench = formatted.bench()
    good, bad = bench.open(1), bench.open(2)
    bench.send(bad[0], bad[1].compose(append=[5, POISON, 7], until=8))
    assert bench.continued(*good, PROMPT, 6) == truth[:6]
    assert bench.fault(bad[0]).code is FaultCode.BAD_REQUEST
    assert bench.continued(*good, [], 6) == truth[6:]
    bench.engine.book.check_integrity()


def test_its_drafted_ids_are_only_wrong_guesses(formatted: Formatted) -> None:
    truth = formatted.truth(PROMPT, 12)
    bench = formatted.bench()
    key, session = bench.open(1)
    other = bench.open(2)
    bench.send(other[0], other[1].compose(append=PROMPT, until=15))
    written = bench.continued(key, session, PROMPT, 1)
    while len(written) < 8:
        guess = [*truth[len(written) :][:1], POISON, POISON]
        bench.send(key, session.compose(tokens=guess))
        held = len(session)
        while len(session) == held:
            if isinstance(verdict := bench.receive(key), Verdict):
                session.receive(verdict)
        written = list(session.ids)[len(PROMPT) :]
        assert written == truth[: len(written)]
    assert bench.read(*other, 15) == [*PROMPT, *truth]
    assert bench.engine.stats.faults == 0
    bench.engine.book.check_integrity()


def test_its_pages_are_clean_for_the_next(formatted: Formatted) -> None:
    """Room for eight pages, all of which hold no numbers when their session is closed in the middle of a long prompt."""
    truth = formatted.truth(PROMPT, 12)
    page = 16 * 2 * 2 * 2 * 16 * (2 if formatted._dtype.itemsize == 2 else 4)
    bench = formatted.bench(8 * page)
    key, session = bench.open(1)
    feed(bench, key, session, [POISON] * 120)
    assert any(not bool(keys.isfinite().all()) for keys in bench.target.cache.keys)
    bench.send(key, Close())
    assert bench.continued(*bench.open(2), PROMPT, 12) == truth


def test_a_beginning_that_others_share_with_it_is_theirs(formatted: Formatted) -> None:
    """Ids before the poisoned one attend to it behind their mask: what is computed beside it is of use to nobody."""
    truth = formatted.truth([*BEGINNING, *PROMPT], 12)
    bench = formatted.bench()
    feed(bench, *bench.open(1), [*BEGINNING, 5, POISON, 7])
    assert bench.continued(*bench.open(2), [*BEGINNING, *PROMPT], 12) == truth
    bench.engine.book.check_integrity()


def test_what_others_have_computed_of_a_beginning_is_sound_for_who_goes_on_with_poison(formatted: Formatted) -> None:
    truth = formatted.truth([*BEGINNING, *PROMPT], 12)
    bench = formatted.bench()
    good, bad = bench.open(1), bench.open(2)
    assert bench.continued(*good, [*BEGINNING, *PROMPT], 6) == truth[:6]
    bench.send(bad[0], bad[1].compose(append=[*BEGINNING, POISON], until=20))
    assert bench.fault(bad[0]).code is FaultCode.BAD_REQUEST
    assert bench.continued(*good, [], 6) == truth[6:]
    assert bench.continued(*bench.open(3), [*BEGINNING, *PROMPT], 12) == truth
    bench.engine.book.check_integrity()


def test_early_verdicts_go_on_for_the_others(formatted: Formatted) -> None:
    truth = formatted.truth(PROMPT, 12)
    bench = formatted.bench()
    good, bad = bench.open(1), bench.open(2)
    for key, session in (good, bad):
        assert bench.continued(key, session, PROMPT, 1) == truth[:1]
    bench.send(bad[0], bad[1].compose(tokens=[POISON]))
    bench.send(good[0], good[1].compose(tokens=[truth[1]]))
    assert isinstance(bench.receive(good[0]), Early)
    assert isinstance(bench.receive(bad[0]), Verdict)
