"""The engine's loop over a real target: many sessions at once, each with the oracle's text."""

from __future__ import annotations

import queue
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from edge_node.rounds.session import NodeSession, VerdictRuling
from hub.engine.engine import Engine
from hub.engine.forward_time import ForwardTime
from hub.engine.inbox import Arrival
from hub.engine.window import Window
from hub.model.exits import ExitHead
from hub.model.target import Target
from hub.sessions.book import SessionBook
from hub.sessions.memory import KVMemory
from hub.sessions.session import Limits, SessionKey
from shared.messages import AnyMessage, Close, Draft, Early, Fault, FaultCode, Finish, Open, Opened, Verdict
from shared.sampling_parameters import Sampling
from tests import models
from tools.rig.oracle import Oracle, Rule

WAIT_S = 30.0


class Bench:
    """An engine on its own thread, with a queue of answers for each session."""

    def __init__(
        self, checkpoint: str, *, kv_memory: int, budget: int, exit_head: Path | None = None, least_rest_s: float = 0.0
    ) -> None:
        cpu = torch.device("cpu")
        target = Target(checkpoint, device=cpu, dtype=torch.float32, kv_memory=kv_memory, exit_head=exit_head)
        limits = Limits(target.context, models.VOCAB, frozenset({models.END}), max_draft=8)
        memory = KVMemory(target.pool, target.cache, lambda key: b"tiny")
        self.book = SessionBook(limits, memory, max_sessions=64, max_per_node=64, ttl_s=60.0)
        self.answers: dict[SessionKey, queue.Queue[AnyMessage]] = {}
        self.engine = Engine(
            target,
            self.book,
            memory,
            answer_open=lambda m: Opened(m.session, "tiny", limits.context, 8, (models.END,), 0.0, 0, 1.0),
            publish=lambda key, message: self.answers[key].put(message),
            forward_time=ForwardTime(),
            window=Window(0.004, 0.5),
            budget=budget,
            max_queue=64,
            least_rest_s=least_rest_s,
        )
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self.engine.run, args=(self.stop,))
        self.thread.start()

    def send(self, key: SessionKey, message: Open | Draft | Close) -> None:
        self.answers.setdefault(key, queue.Queue())
        self.engine.submit(Arrival.of(key, message, time.monotonic()))

    def receive(self, key: SessionKey) -> AnyMessage:
        return self.answers[key].get(timeout=WAIT_S)

    def close(self) -> None:
        self.stop.set()
        self.thread.join()
        self.book.check_integrity()


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> str:
    return models.save(models.llama(), tmp_path_factory.mktemp("target"))


@pytest.fixture
def bench(checkpoint: str) -> Iterator[Bench]:
    made = Bench(checkpoint, kv_memory=1 << 20, budget=64)
    yield made
    made.close()


class Remembering:
    """An oracle that is asked the same by several tests."""

    def __init__(self, checkpoint: str) -> None:
        oracle = Oracle(checkpoint, models.VOCAB, [models.END], models.CONTEXT)
        self.answer = cache(lambda ids, rule: oracle.answer(ids, rule, 24))


@pytest.fixture(scope="module")
def oracle(checkpoint: str) -> Remembering:
    return Remembering(checkpoint)


def key(number: int) -> SessionKey:
    return SessionKey(f"node-{number % 3}", number.to_bytes(16, "big"))


def converse(bench: Bench, number: int, oracle: Remembering) -> None:
    """A chat of two turns with a draft that is right half of the time, against the oracle."""
    rng = random.Random(number)
    bench.send(key(number), Open(key(number).id, "tiny", bytes(16)))
    assert isinstance(bench.receive(key(number)), Opened)
    session, ids = NodeSession(), []
    for turn in range(2):
        rule = Rule(rng.choice((0.0, 0.9)), rng.choice((0, 7)), rng.choice((1.0, 0.8)), rng.getrandbits(64))
        prompt = [rng.randrange(2, models.VOCAB) for _ in range(rng.choice((1, 9, 70)))]
        ids += prompt
        truth = oracle.answer(tuple(ids), rule)
        limit = len(ids) + len(truth)
        sampling = Sampling(rule.temperature, rule.top_k, rule.top_p, rule.seed)
        draft = session.compose(append=prompt, until=len(ids) + rng.choice((1, 6)), sampling=sampling)
        while True:
            bench.send(key(number), draft)
            while session.outstanding is not None or len(session) < draft.until:
                verdict = bench.receive(key(number))
                if isinstance(verdict, Early):
                    assert draft.tokens, "an early verdict is for those who draft"
                    assert (verdict.round, verdict.base) == (session.round, len(session))
                    assert session.outstanding is draft
                    continue
                assert isinstance(verdict, Verdict), verdict
                assert session.receive(verdict).ruling is not VerdictRuling.GAP
                if session.finish is not Finish.NO:
                    break
            if session.finish is not Finish.NO or len(session) >= limit:
                break
            at = len(session) - len(ids)
            tokens = [
                t if rng.random() < 0.7 else rng.randrange(2, models.VOCAB) for t in truth[at : at + rng.randrange(9)]
            ]
            until = 0 if tokens else len(session) + 1
            draft = session.compose(tokens=tokens, until=until)
        ids += truth
        got = list(session.ids)
        assert got[: len(ids)] == ids, f"turn {turn} of session {number}"
        # A bonus token may stand past the truth that was asked for; the next turn cuts there.
        if len(got) > len(ids):
            bench.send(key(number), session.compose(keep=len(ids)))
            while session.outstanding is not None:
                reply = bench.receive(key(number))
                assert isinstance(reply, Verdict)
                session.receive(reply)
    bench.send(key(number), Close())


@pytest.fixture(params=["exit", "no exit"])
def any_bench(request: pytest.FixtureRequest, checkpoint: str, tmp_path: Path) -> Iterator[Bench]:
    """A bench whose target may have an exit, which must change no text."""
    path = tmp_path / "exit.safetensors"
    models.exit_head().save(path)
    made = Bench(checkpoint, kv_memory=1 << 20, budget=64, exit_head=path if request.param == "exit" else None)
    yield made
    made.close()


@pytest.mark.slow
def test_sessions_at_once_get_the_oracles_text(any_bench: Bench, oracle: Remembering) -> None:
    bench = any_bench
    errors: list[BaseException] = []

    def run(number: int) -> None:
        try:
            converse(bench, number, oracle)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    stats = bench.engine.stats
    assert stats.faults == 0
    assert 0 < stats.target_forwards <= stats.rounds
    assert 0 < stats.accepted < stats.drafted
    assert 0 <= stats.early_right <= stats.early <= stats.speculated


def test_drafts_of_several_sessions_share_a_forward(bench: Bench) -> None:
    sessions = [NodeSession() for _ in range(4)]
    for number, session in enumerate(sessions):
        bench.send(key(number), Open(key(number).id, "tiny", bytes(16)))
        bench.receive(key(number))
        bench.send(key(number), session.compose(append=[5, 6, number + 7], until=4))
        session.receive(bench.receive(key(number)))  # type: ignore[arg-type]
    before = bench.engine.stats.target_forwards
    for number, session in enumerate(sessions):
        bench.send(key(number), session.compose(tokens=[9, 9]))
    for number in range(4):
        assert isinstance(bench.receive(key(number)), Verdict)
    assert bench.engine.stats.target_forwards - before <= 2, "the first may have gone alone, the others together"


def test_a_cancelled_answer_takes_no_step_more(bench: Bench) -> None:
    session = NodeSession()
    bench.send(key(1), Open(key(1).id, "tiny", bytes(16)))
    bench.receive(key(1))
    bench.send(key(1), session.compose(append=[5, 6, 7], until=models.CONTEXT - 2, sampling=Sampling(1.0, 0, 1.0, 3)))
    session.receive(bench.receive(key(1)))  # type: ignore[arg-type]
    before = bench.engine.stats.target_forwards
    cut = session.compose(keep=4)
    bench.send(key(1), cut)
    while not (isinstance(verdict := bench.receive(key(1)), Verdict) and verdict.round == cut.round):
        pass
    decided = bench.engine.stats.target_forwards
    # One forward may have been counted while this was sent, and one was under way.
    assert decided <= before + 2
    time.sleep(0.2)
    assert bench.engine.stats.target_forwards == decided


def test_an_unknown_session_is_told_to_reopen(bench: Bench) -> None:
    bench.send(key(9), Draft(1, 0, 0, until=4, append=(5,)))
    reply = bench.receive(key(9))
    assert isinstance(reply, Fault)
    assert (reply.code, reply.round) == (FaultCode.UNKNOWN_SESSION, 1)


def test_a_hub_that_ends_sends_everybody_elsewhere(bench: Bench) -> None:
    held, late, new = key(1), key(2), key(3)
    bench.send(held, Open(held.id, "tiny", bytes(16)))
    assert isinstance(bench.receive(held), Opened)
    bench.stop.set()
    bench.thread.join()
    bench.send(late, Draft(round=4, base=7, digest=1))
    bench.send(new, Open(new.id, "tiny", bytes(16)))
    bench.engine.drain()
    told = {session: bench.receive(session) for session in (held, late, new)}
    assert all(isinstance(fault, Fault) and fault.code is FaultCode.MOVED for fault in told.values())
    assert [fault.session for fault in told.values() if isinstance(fault, Fault)] == [None, None, new.id]
    assert all(answers.empty() for answers in bench.answers.values()), "one of them is told twice"


def test_a_session_belongs_to_its_node(bench: Bench) -> None:
    mine, theirs = SessionKey("mine", bytes(16)), SessionKey("theirs", bytes(16))
    bench.send(mine, Open(mine.id, "tiny", bytes(16)))
    bench.receive(mine)
    bench.send(theirs, Draft(1, 0, 0, until=4, append=(5,)))
    reply = bench.receive(theirs)
    assert isinstance(reply, Fault)
    assert reply.code is FaultCode.UNKNOWN_SESSION


def test_opening_twice_is_opening_once(bench: Bench) -> None:
    request = Open(key(1).id, "tiny", bytes(16))
    for _ in range(2):
        bench.send(key(1), request)
    assert bench.receive(key(1)) == bench.receive(key(1))
    assert len(bench.book) == 1


@pytest.mark.slow
def test_sessions_lose_pages_and_not_their_text_when_memory_is_full(checkpoint: str) -> None:
    # Room for 8 pages of 16 positions: 2 layers, K and V, 2 heads of 16 floats. Each session needs five of them.
    bench = Bench(checkpoint, kv_memory=8 * 16 * 2 * 2 * 2 * 16 * 4, budget=64)
    oracle = Oracle(checkpoint, models.VOCAB, [models.END], models.CONTEXT)
    try:
        chats = [NodeSession() for _ in range(3)]
        prompts = [[5 + number] * 66 for number in range(3)]
        for number, chat in enumerate(chats):
            bench.send(key(number), Open(key(number).id, "tiny", bytes(16)))
            assert isinstance(bench.receive(key(number)), Opened)
            bench.send(key(number), chat.compose(append=prompts[number], until=67))
        for number, chat in enumerate(chats):
            verdict = bench.receive(key(number))
            assert isinstance(verdict, Verdict)
            chat.receive(verdict)
        assert bench.book.evicted == 0
        for number, chat in enumerate(chats):
            truth = oracle.answer(prompts[number], Rule(0.0, 0, 1.0, 0), 2)
            bench.send(key(number), chat.compose(tokens=truth[1:2]))
            verdict = bench.receive(key(number))
            assert isinstance(verdict, Verdict)
            chat.receive(verdict)
            assert list(chat.ids)[66:68] == truth
        assert bench.engine.stats.faults == 0
        assert bench.engine.stats.prefill_tokens > 3 * 67, "what was lost was computed anew"
    finally:
        bench.close()


@pytest.mark.slow
def test_the_oracle_is_not_the_code_under_test(checkpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It loads nothing of the product, and gives the model the whole prefix each time, without a cache."""
    code = "import sys, tools.rig.oracle; print({name.split('.')[0] for name in sys.modules} & {'hub', 'shared', 'edge_node'})"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "set()"
    oracle = Oracle(checkpoint, models.VOCAB, [models.END], models.CONTEXT)
    given: list[tuple[int, bool]] = []
    whole = oracle._model.forward

    def spied(*, input_ids: torch.Tensor, use_cache: bool, **more: Any) -> Any:
        given.append((input_ids.shape[1], use_cache))
        return whole(input_ids=input_ids, use_cache=use_cache, **more)

    monkeypatch.setattr(oracle._model, "forward", spied)
    count = len(oracle.answer([5, 6, 7], Rule(0.0, 0, 1.0, 0), 4))
    assert given == [(3 + place, False) for place in range(count)]


def exchanged(bench: Bench, tokens: list[int], number: int = 1) -> list[AnyMessage]:
    """What the hub answers to a block of tokens behind a prompt of three ids and the target's first."""
    session = NodeSession()
    bench.send(key(number), Open(key(number).id, "tiny", bytes(16)))
    assert isinstance(bench.receive(key(number)), Opened)
    bench.send(key(number), session.compose(append=[5, 6, 7], until=4))
    first = bench.receive(key(number))
    assert isinstance(first, Verdict), "nothing was drafted yet, so nothing comes early"
    session.receive(first)
    bench.send(key(number), session.compose(tokens=tokens))
    answers = [bench.receive(key(number))]
    while not isinstance(answers[-1], Verdict):
        answers.append(bench.receive(key(number)))
    return answers


def test_an_early_verdict_comes_before_the_verdict_and_says_what_the_exit_says(checkpoint: str, tmp_path: Path) -> None:
    path = tmp_path / "exit.safetensors"
    models.exit_head().save(path)
    model = models.llama()
    head = ExitHead.load(path)

    def at_exit(ids: list[int]) -> int:
        states = model(torch.tensor([ids]), output_hidden_states=True).hidden_states[1]
        return int(model.lm_head(head(states[0, -1])).argmax())

    truth = Oracle(checkpoint, models.VOCAB, [models.END], models.CONTEXT).answer([5, 6, 7], Rule(0.0, 0, 1.0, 0), 4)
    text = [5, 6, 7, truth[0]]
    said = at_exit(text)
    behind = at_exit([*text, said])
    assert said != models.END
    bench = Bench(checkpoint, kv_memory=1 << 20, budget=64, exit_head=path)
    try:
        early, verdict = exchanged(bench, [said, 9 if behind != 9 else 8])
        assert early == Early(2, 4, 1, (behind,))
        assert isinstance(verdict, Verdict)
        assert (verdict.round, verdict.base) == (2, 4)
        same = isinstance(early, Early) and (early.accepted, early.ids) == (verdict.accepted, verdict.ids)
        assert (bench.engine.stats.early, bench.engine.stats.early_right) == (1, int(same))
    finally:
        bench.close()


def test_no_early_verdict_where_the_rest_of_the_forward_is_too_short_for_one(checkpoint: str, tmp_path: Path) -> None:
    models.exit_head().save(tmp_path / "exit.safetensors")
    bench = Bench(checkpoint, kv_memory=1 << 20, budget=64, exit_head=tmp_path / "exit.safetensors", least_rest_s=60.0)
    try:
        assert len(exchanged(bench, [9, 9])) == 1
        assert bench.engine.stats.early == 0
    finally:
        bench.close()
