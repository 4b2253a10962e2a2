"""A text for which the target gives no numbers ends its own session alone, whatever the others do beside it."""

from __future__ import annotations

import queue
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from edge_node.rounds.session import NodeSession
from hub.assembly import assemble
from hub.engine.engine import Engine
from hub.engine.inbox import Arrival
from hub.model.batch import Inputs
from hub.model.exits import Asked
from hub.model.target import Target
from hub.sessions.session import Limits, SessionKey
from hub.settings import Exits, HubSettings, Weights
from shared.messages import AnyMessage, Close, Draft, Early, Fault, FaultCode, Open, Opened, Verdict
from tests import models
from tools.rig.oracle import Oracle, Rule

POISON = 9  # the id whose embedding is NaN
PROMPT = [5, 6, 7]


class Bench:
    """An engine that takes a step whenever an answer is waited for."""

    def __init__(
        self,
        checkpoint: str,
        kv_memory: int = 1 << 20,
        exit_head: Path | None = None,
        dtype: torch.dtype = torch.float32,
        weights: Weights = Weights.AUTO,
    ) -> None:
        cpu = torch.device("cpu")
        self.target = Target(
            checkpoint, device=cpu, dtype=dtype, kv_memory=kv_memory, weights=weights, exit_head=exit_head
        )
        limits = Limits(self.target.context, models.VOCAB, frozenset({models.END}), max_draft=8)
        self.answers: dict[SessionKey, queue.SimpleQueue[AnyMessage]] = {}
        self.engine: Engine = assemble(
            self.target,
            limits,
            HubSettings(exits=Exits.ALWAYS, due_ms=1),
            group=lambda _: b"all",
            answer_open=lambda m: Opened(m.session, "tiny", limits.context, 8, (models.END,), 0.0, 0, 1.0),
            publish=lambda key, message: self.answers[key].put(message),
        )

    def open(self, number: int) -> tuple[SessionKey, NodeSession]:
        key = SessionKey(f"node-{number}", number.to_bytes(16, "big"))
        self.answers[key] = queue.SimpleQueue()
        self.send(key, Open(key.id, "tiny", bytes(16)))
        assert isinstance(self.receive(key), Opened)
        return key, NodeSession()

    def send(self, key: SessionKey, message: Open | Draft | Close) -> None:
        self.engine.submit(Arrival.of(key, message, time.monotonic()))

    def receive(self, key: SessionKey) -> AnyMessage:
        while self.answers[key].empty():
            assert self.engine.has_work, "nothing comes any more"
            self.engine.step()
        return self.answers[key].get()

    def continued(self, key: SessionKey, session: NodeSession, ids: Sequence[int], tokens: int) -> list[int]:
        """What the target writes behind `ids`."""
        end = len(session) + len(ids) + tokens
        self.send(key, session.compose(append=ids, until=end))
        return self.read(key, session, end)[-tokens:]

    def read(self, key: SessionKey, session: NodeSession, end: int) -> list[int]:
        """The session's ids, once it has that many."""
        while len(session) < end:
            verdict = self.receive(key)
            assert isinstance(verdict, Verdict), verdict
            session.receive(verdict)
        return list(session.ids)

    def fault(self, key: SessionKey) -> Fault:
        fault = self.receive(key)
        assert isinstance(fault, Fault), fault
        return fault


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> str:
    model = models.llama()
    with torch.no_grad():
        model.model.embed_tokens.weight[POISON] = float("nan")
    return models.save(model, tmp_path_factory.mktemp("target"))


@pytest.fixture(scope="module")
def truth(checkpoint: str) -> list[int]:
    answer = Oracle(checkpoint, models.VOCAB, [models.END], models.CONTEXT).answer(PROMPT, Rule(0.0, 0, 1.0, 0), 12)
    assert len(answer) == 12
    assert POISON not in answer
    return answer


def test_a_text_without_numbers_ends_its_own_session_and_no_other(checkpoint: str, truth: list[int]) -> None:
    bench = Bench(checkpoint)
    good, bad = bench.open(1), bench.open(2)
    bench.send(bad[0], bad[1].compose(append=[5, POISON, 7], until=8))
    assert bench.continued(*good, PROMPT, 6) == truth[:6]
    fault = bench.fault(bad[0])
    assert fault.code is FaultCode.BAD_REQUEST, "a node opens a session anew for others, and asks the same again"
    assert "no numbers" in fault.detail
    assert bench.engine.book.get(bad[0]) is None
    assert bench.continued(*good, [], 6) == truth[6:]
    assert bench.engine.stats.faults == 1
    bench.engine.book.check_integrity()


def test_a_drafted_id_without_numbers_is_only_a_wrong_guess(checkpoint: str, truth: list[int]) -> None:
    bench = Bench(checkpoint)
    key, session = bench.open(1)
    assert bench.continued(key, session, PROMPT, 2) == truth[:2]
    for guess in ([truth[2], POISON, truth[4]], [POISON], [truth[4], POISON]):
        bench.send(key, session.compose(tokens=guess))
        written = bench.read(key, session, len(session) + 1)
        assert written == [*PROMPT, *truth][: len(written)]
    assert bench.engine.stats.faults == 0
    bench.engine.book.check_integrity()


def test_pages_that_held_no_numbers_are_clean_for_the_next(checkpoint: str, truth: list[int]) -> None:
    """Room for eight pages: a prompt that is only fed, whose session is closed, leaves NaN in all of them."""
    bench = Bench(checkpoint, kv_memory=8 * 16 * 2 * 2 * 2 * 16 * 4)
    key, session = bench.open(1)
    bench.send(key, session.compose(append=[POISON] * 120))
    while bench.engine.has_work:
        bench.engine.step()
    assert any(bool(keys.isnan().any()) for keys in bench.target.cache.keys)
    bench.send(key, Close())
    assert bench.continued(*bench.open(2), PROMPT, 12) == truth


def test_an_exit_goes_on_for_the_others(checkpoint: str, truth: list[int], tmp_path: Path) -> None:
    models.exit_head().save(tmp_path / "exit.safetensors")
    bench = Bench(checkpoint, exit_head=tmp_path / "exit.safetensors")
    key, session = bench.open(1)
    assert bench.continued(key, session, PROMPT, 1) == truth[:1]
    bench.send(key, session.compose(tokens=[POISON]))
    verdict = bench.receive(key)
    assert isinstance(verdict, Verdict), "the exit has no number to guess from"
    session.receive(verdict)
    bench.send(key, session.compose(tokens=[truth[2]]))
    assert isinstance(bench.receive(key), Early)


@pytest.mark.parametrize("failing", ["one", "all"])
def test_a_forward_that_fails_for_one_session_is_run_for_the_others(
    checkpoint: str, truth: list[int], monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    bench = Bench(checkpoint)
    good, bad = bench.open(1), bench.open(2)
    whole = bench.target.compute

    def compute(inputs: Inputs, asked: Asked | None = None) -> Any:
        if failing == "all" or POISON in inputs.ids:
            raise RuntimeError("this id breaks the device")
        return whole(inputs, asked)

    monkeypatch.setattr(bench.target, "compute", compute)
    bench.send(bad[0], bad[1].compose(append=[5, POISON, 7], until=8))
    if failing == "one":
        assert bench.continued(*good, PROMPT, 12) == truth
        assert bench.fault(bad[0]).code is FaultCode.BAD_REQUEST
    else:
        bench.send(good[0], good[1].compose(append=PROMPT, until=8))
        for key in (good[0], bad[0]):
            assert bench.fault(key).code is FaultCode.UNKNOWN_SESSION, "it is the hub's own fault: another may serve it"
    bench.engine.book.check_integrity()
