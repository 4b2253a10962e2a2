"""Answers that keep to a grammar, over the engine and the built-in pair's target, beside the oracle with its own masks."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch

from edge_node.rounds.session import NodeSession, VerdictRuling
from hub.assembly import assemble
from hub.engine.inbox import Arrival
from hub.model.target import Target
from hub.sessions.session import Limits, SessionKey
from hub.settings import Exits, HubSettings
from shared.grammar import Grammar
from shared.guide import Guide, guides_of
from shared.messages import AnyMessage, Close, Draft, Early, Fault, FaultCode, Finish, Open, Opened, Verdict
from shared.sampling_parameters import Sampling
from shared.vocabulary import end_ids, ids_below, load_tokenizer
from tests.guided import PAIR, ids_of, masks_of
from tools.bench.constrained import SCHEMAS
from tools.rig.oracle import Oracle, Rule, choose

TOKENIZER = load_tokenizer(PAIR)
VOCAB = ids_below(TOKENIZER)
(END,) = end_ids(PAIR, TOKENIZER)
PROMPT = ids_of("<|user|>turn on the kitchen lights<|end|><|assistant|>")
GRAMMARS = [Grammar.of_schema(schema) for schema in SCHEMAS]
WAIT_S = 30.0


class Bench:
    """An engine with the built-in pair's target, on this module's thread."""

    def __init__(self, *, guided: bool = True) -> None:
        settings = HubSettings(threads=1, exits=Exits.ALWAYS)
        target = Target(
            PAIR.verify_target(),
            device=torch.device("cpu"),
            dtype=torch.float32,
            kv_memory=64 << 20,
            threads=1,
            exit_head=PAIR.exit_head,
        )
        self.said: queue.Queue[tuple[SessionKey, AnyMessage]] = queue.Queue()
        self.engine = assemble(
            target,
            Limits(target.context, VOCAB, frozenset({END}), settings.max_draft),
            settings,
            group=lambda _: b"all",
            answer_open=lambda m: Opened(m.session, "home", target.context, settings.max_draft, (END,), 0.0, 0, 1.0),
            publish=lambda key, message: self.said.put((key, message)),
            guides=guides_of(PAIR, VOCAB, [END]) if guided else None,
        )
        self.early = 0

    def send(self, key: SessionKey, message: Open | Draft | Close) -> None:
        self.engine.submit(Arrival.of(key, message, time.monotonic()))

    def receive(self) -> AnyMessage:
        """What the engine says next, but for early verdicts, going round its loop meanwhile."""
        until = time.monotonic() + WAIT_S
        while time.monotonic() < until:
            try:
                _, message = self.said.get_nowait()
            except queue.Empty:
                self.engine.step()
                continue
            if not isinstance(message, Early):
                return message
            self.early += 1
        raise TimeoutError

    def open(self, number: int) -> SessionKey:
        key = SessionKey(f"node-{number}", number.to_bytes(16, "big"))
        self.send(key, Open(key.id, "home", bytes(16)))
        assert isinstance(self.receive(), Opened)
        return key


@pytest.fixture(scope="module")
def bench() -> Bench:
    return Bench()


@pytest.fixture(scope="module")
def oracle() -> Oracle:
    return Oracle(PAIR.target, VOCAB, [END], 2048)


def named(grammar: Grammar, seed: int = 0, temperature: float = 0.0, begins: int = len(PROMPT)) -> Sampling:
    return Sampling(temperature, seed=seed, grammar=grammar.digest, grammar_from=begins)


def truth(oracle: Oracle, schema: dict[str, Any], rule: Rule) -> list[int]:
    """What the target writes alone, id by id, under the oracle's own masks."""
    mask, ids = masks_of(schema), list[int]()
    while ids[-1:] != [END]:
        row = oracle.logits([*PROMPT, *ids], [])[0]
        row[~mask.allowed(ids)] = -np.inf
        ids.append(choose(row, rule, len(PROMPT) + len(ids)))
    return ids


def answered(bench: Bench, number: int, grammar: Grammar, sampling: Sampling, drafted: Sequence[int]) -> list[int]:
    """An answer that comes in rounds, each with the next of `drafted` at its place, right or wrong."""
    key, session = bench.open(number), NodeSession()
    bench.send(key, session.compose(append=PROMPT, until=len(PROMPT) + 1, sampling=sampling, grammar=grammar))
    while True:
        verdict = bench.receive()
        assert isinstance(verdict, Verdict), verdict
        if session.receive(verdict).ruling is not VerdictRuling.COMMIT:
            continue
        if session.finish is not Finish.NO:
            bench.send(key, Close())
            return list(session.ids[len(PROMPT) :])
        length = len(session)
        block = list(drafted[length - len(PROMPT) : length - len(PROMPT) + 5])
        bench.send(key, session.compose(tokens=block, until=0 if block else length + 3))


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("number", range(len(SCHEMAS)))
def test_the_text_is_the_targets_own_whatever_is_drafted(
    bench: Bench, oracle: Oracle, number: int, temperature: float
) -> None:
    sampling = named(GRAMMARS[number], 11, temperature)
    right = truth(oracle, SCHEMAS[number], Rule(temperature, 0, 1.0, 11))
    wrong = [(token + 7) % VOCAB for token in right]
    half = [token if place % 3 else END for place, token in enumerate(right)]
    at = 10 * number + 100 * int(temperature)
    for drafted in ([], right, wrong, half):
        at += 1
        assert answered(bench, at, GRAMMARS[number], sampling, drafted) == right
    assert bench.engine.stats.guiding_us > 0


def test_an_answer_goes_on_in_a_new_session_where_it_was(bench: Bench, oracle: Oracle) -> None:
    right = truth(oracle, SCHEMAS[2], Rule(1.0, 0, 1.0, 5))
    for held in (1, len(right) // 2, len(right) - 1):
        key, session = bench.open(1000 + held), NodeSession()
        ids = [*PROMPT, *right[:held]]
        draft = session.compose(
            append=ids, until=len(ids) + 100, sampling=named(GRAMMARS[2], 5, 1.0), grammar=GRAMMARS[2]
        )
        bench.send(key, draft)
        while session.finish is Finish.NO:
            verdict = bench.receive()
            assert isinstance(verdict, Verdict)
            session.receive(verdict)
        assert list(session.ids[len(PROMPT) :]) == right


def test_the_text_of_a_grammar_travels_once_in_a_session(bench: Bench) -> None:
    key, session = bench.open(2000), NodeSession()
    sizes = []
    for _ in range(2):
        begins = len(session) + len(PROMPT)
        draft = session.compose(
            append=PROMPT, until=begins + 100, sampling=named(GRAMMARS[3], begins=begins), grammar=GRAMMARS[3]
        )
        sizes.append(len(draft.grammar))
        bench.send(key, draft)
        while session.finish is Finish.NO:
            verdict = bench.receive()
            assert isinstance(verdict, Verdict)
            session.receive(verdict)
    assert sizes == [len(GRAMMARS[3].packed), 0]


def begun(bench: Bench, number: int, grammar: Grammar) -> tuple[SessionKey, NodeSession, Guide]:
    """A session whose answer has one id, and the guide that the hub has for it."""
    key, session = bench.open(number), NodeSession()
    bench.send(key, session.compose(append=PROMPT, until=len(PROMPT) + 1, sampling=named(grammar), grammar=grammar))
    verdict = bench.receive()
    assert isinstance(verdict, Verdict)
    session.receive(verdict)
    held = bench.engine.book.get(key)
    assert held is not None
    assert held.guide is not None
    return key, session, held.guide


def refused(bench: Bench, number: int, draft: Draft) -> Fault:
    key = bench.open(number)
    bench.send(key, draft)
    fault = bench.receive()
    assert isinstance(fault, Fault)
    assert fault.round == draft.round
    return fault


def first(sampling: Sampling, packed: bytes, append: Sequence[int] = PROMPT) -> Draft:
    return Draft(1, 0, 0, until=len(append) + 20, append=tuple(append), sampling=sampling, grammar=packed)


def test_what_cannot_be_kept_to_is_refused_and_disturbs_nobody(bench: Bench, oracle: Oracle) -> None:
    other = Grammar.of_schema({"type": "no such type"})
    known, unknown = GRAMMARS[0], Grammar.of_schema({"title": "never sent"})
    cases = [
        (first(named(other), other.packed), FaultCode.BAD_REQUEST, "can't be followed"),
        (first(named(other), other.packed), FaultCode.BAD_REQUEST, "can't be followed"),  # as it is known by now
        (first(named(unknown), GRAMMARS[1].packed), FaultCode.BAD_REQUEST, "not the one"),
        (first(Sampling(grammar=5, grammar_from=9), b"no zlib"), FaultCode.BAD_REQUEST, "zlib"),
        (first(Sampling(grammar=6, grammar_from=9), b""), FaultCode.UNKNOWN_SESSION, "does not hold"),
        (first(named(known, begins=2), known.packed), FaultCode.BAD_REQUEST, "leaves the grammar"),
    ]
    for at, (draft, code, said) in enumerate(cases):
        fault = refused(bench, 3000 + at, draft)
        assert (fault.code, said in fault.detail) == (code, True), fault
    right = truth(oracle, SCHEMAS[4], Rule(0.0, 0, 1.0, 0))
    assert answered(bench, 3100, GRAMMARS[4], named(GRAMMARS[4]), right) == right


def test_grammars_that_come_faster_than_they_compile_have_to_wait(bench: Bench) -> None:
    slow = [
        Grammar.of_schema({"title": str(number), "allOf": [{"pattern": f"^.*[ab]{{{n}}}c.*$"} for n in range(1, 40)]})
        for number in range(3)
    ]
    keys = [SessionKey("hasty", (4000 + number).to_bytes(16, "big")) for number in range(3)]
    for key in keys:
        bench.send(key, Open(key.id, "home", bytes(16)))
        assert isinstance(bench.receive(), Opened)
    began = time.monotonic()
    for key, grammar in zip(keys, slow, strict=True):
        bench.send(key, first(named(grammar), grammar.packed))
    fault = bench.receive()
    assert isinstance(fault, Fault)
    assert fault.code is FaultCode.BUSY
    assert fault.retry_after_ms > 0
    assert time.monotonic() - began < 2.0, "the engine must not wait for what compiles"
    for _ in range(2):
        late = bench.receive()
        assert isinstance(late, Fault)
        assert "too long" in late.detail


def test_a_wrong_text_does_not_stand_for_the_right_one(bench: Bench, oracle: Oracle) -> None:
    grammar = Grammar.of_schema({**SCHEMAS[4], "title": "another"})
    assert "not the one" in refused(bench, 4100, first(named(grammar), GRAMMARS[0].packed)).detail
    right = truth(oracle, SCHEMAS[4], Rule(0.0, 0, 1.0, 0))
    assert answered(bench, 4101, grammar, named(grammar), right) == right


def test_who_leaves_while_a_grammar_is_compiled_leaves_nothing(bench: Bench) -> None:
    grammars = bench.engine._grammars
    for number in range(15):
        key = bench.open(4200 + number)
        odd = Grammar.of_schema({"title": str(number), "type": "string", "format": "no such"})
        bench.send(key, first(named(odd), odd.packed))
        bench.send(key, first(named(odd), b""))  # the same again, while it waits
        bench.send(key, Close())
        bench.engine.step()
        assert key not in grammars._parked
        until = time.monotonic() + WAIT_S
        while grammars._compiling:
            bench.engine.step()
            assert time.monotonic() < until
    assert bench.said.empty()


def test_a_drafted_id_that_cannot_be_followed_costs_the_draft_alone(
    bench: Bench, oracle: Oracle, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = truth(oracle, SCHEMAS[2], Rule(0.0, 0, 1.0, 0))
    key, session, guide = begun(bench, 4900, GRAMMARS[2])
    masks = guide.masks

    def fails(ids: Sequence[int], drafted: Sequence[int] = ()) -> Any:
        if drafted:
            guide._matcher.consume_token(END)
        return masks(ids, drafted)

    monkeypatch.setattr(guide, "masks", fails)
    while session.finish is Finish.NO:
        bench.send(key, session.compose(tokens=right[len(session) - len(PROMPT) :][:3], until=len(session) + 2))
        verdict = bench.receive()
        assert isinstance(verdict, Verdict), verdict
        session.receive(verdict)
        assert verdict.accepted == 0
    assert list(session.ids[len(PROMPT) :]) == right


@pytest.mark.parametrize(("guides", "code"), [(1, FaultCode.BAD_REQUEST), (2, FaultCode.UNKNOWN_SESSION)])
def test_an_answer_that_can_be_followed_no_further_ends_alone(bench: Bench, guides: int, code: FaultCode) -> None:
    key, session, guide = begun(bench, 5000 + guides, GRAMMARS[1])
    guide.grammar.guides = guides  # what others have found out may be at fault, or nobody else has used it
    guide._matcher.consume_token(END)  # which may not come here: the library follows no further from then on
    bench.send(key, session.compose(until=len(session) + 5))
    fault = bench.receive()
    assert isinstance(fault, Fault)
    assert fault.code is code
    assert "too complex" in fault.detail
    assert bench.engine.book.get(key) is None


def test_a_hub_without_the_library_says_so() -> None:
    done: list[Fault] = []

    def work() -> None:
        bench = Bench(guided=False)
        done.append(refused(bench, 1, first(named(GRAMMARS[0]), GRAMMARS[0].packed)))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done[0].code is FaultCode.BAD_REQUEST
    assert "can't keep" in done[0].detail
