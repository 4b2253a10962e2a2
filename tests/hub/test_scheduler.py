"""The plan: steps of decoding first, drafted tokens while they pay, prompts in chunks, nodes alike."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from hub.engine.forward_time import ForwardTime
from hub.engine.scheduler import Plan, PlannedRow, Scheduler, advised_length
from hub.kv.kv_cache import KVCache
from hub.kv.pages import PAGE_SIZE, PagePool
from hub.model.batch import flatten
from hub.sessions.memory import KVMemory
from hub.sessions.service_classes import ServiceClass
from hub.sessions.session import HubSession, Limits, SessionKey
from shared.messages import Draft

LIMITS = Limits(context=400, vocab_size=50, end_ids=frozenset({1}), max_draft=8)
CHEAP = ForwardTime(fixed=1.0, row=0.0, token=1e-6)  # tokens cost next to nothing
_numbers = itertools.count(1)


def session(
    prompt: int,
    tokens: int = 0,
    until: int = 0,
    computed: int = 0,
    node: str = "node",
    service_class: ServiceClass = ServiceClass.NORMAL,
) -> HubSession:
    number = next(_numbers)
    made = HubSession(SessionKey(node, number.to_bytes(16, "big")), LIMITS, service_class=service_class)
    made.receive(Draft(1, 0, 0, (6,) * tokens, until, tuple(2 + (number + i) % 40 for i in range(prompt))), number)
    made.kv.computed = computed
    return made


def step(tokens: int = 3, node: str = "node", acceptance: float = 0.75) -> HubSession:
    made = session(10, tokens, computed=9, node=node)
    made.acceptance.hits, made.acceptance.tries = 1e4 * acceptance, 1e4
    return made


def shared_keys() -> KVMemory:
    return KVMemory(PagePool(8), KVCache(1, 8, 1, 2, torch.float32, torch.device("cpu")), lambda key: b"home")


def planned(scheduler: Scheduler, sessions: list[HubSession], idle_s: float = 0.0) -> Plan:
    scheduler.admit(sessions)
    return scheduler.plan(sessions, shared_keys().keys, idle_s)


def plan(sessions: list[HubSession], budget: int, time: ForwardTime = CHEAP) -> list[PlannedRow]:
    return list(planned(Scheduler(budget, time, 16), sessions).rows)


def shapes(rows: list[PlannedRow]) -> list[tuple[int, int, int]]:
    return [(row.start, len(row.ids), row.wanted) for row in rows]


def test_verify_and_stream_rows_feed_the_last_committed_id_and_the_drafted() -> None:
    verify, stream = session(10, tokens=3, computed=9), session(7, until=9, computed=6)
    rows = plan([verify, stream], budget=100)
    assert shapes(rows) == [(9, 4, 4), (6, 1, 1)]
    assert rows[0].ids == (verify.transcript.ids[9], 6, 6, 6)
    assert not any(row.prefill for row in rows)
    assert flatten([row.row() for row in rows])[1:] == ([9, 10, 11, 12, 6], [0, 1, 2, 3, 4])


def test_a_prompt_comes_in_chunks_and_never_stalls_a_step() -> None:
    long, other = session(300, until=301), session(10, tokens=3, computed=9)
    assert shapes(plan([long, other], budget=64)) == [(9, 4, 4), (0, 60, 0)]
    long.fed(60)
    assert shapes(plan([long], budget=64)) == [(60, 64, 0)]
    long.fed(252)
    assert shapes(plan([long], budget=64)) == [(252, 48, 1)]


def test_a_prompt_beside_steps_takes_about_as_long_as_they_do() -> None:
    slow = ForwardTime(fixed=0.010, row=0.0, token=0.001)
    long, other = session(300, until=301), session(10, until=12, computed=9)
    (_, _, _), (_, fed, _) = shapes(plan([long, other], budget=256, time=slow))
    assert fed == PAGE_SIZE, "a step of 11 ms allows 11 tokens, which is less than a page"
    slow = ForwardTime(fixed=0.100, row=0.0, token=0.001)
    (_, _, _), (_, fed, _) = shapes(plan([long, other], budget=256, time=slow))
    assert fed == 101


def test_the_last_chunk_waits_when_the_drafted_tokens_do_not_fit() -> None:
    made = session(60, tokens=8, computed=0)
    assert shapes(plan([made], budget=64)) == [(0, 59, 0)]
    made.kv.computed = 59
    assert shapes(plan([made], budget=64)) == [(59, 9, 9)]


def test_a_prompt_without_credit_is_fed_and_asks_for_nothing() -> None:
    made = session(20)
    assert shapes(plan([made], budget=64)) == [(0, 20, 0)]
    made.fed(20)
    assert not made.has_work
    made.receive(Draft(2, 20, made.transcript.digest(20), (6, 7)))
    assert made.has_work
    assert shapes(plan([made], budget=64)) == [(19, 3, 3)], "the last id is fed again for its logits"


def test_however_many_steps_there_are_prompts_go_on() -> None:
    waiting = session(40, until=60)
    rows = plan([*(step(7) for _ in range(8)), waiting], budget=32)
    assert sum(len(row.ids) for row in rows) <= 32
    assert rows[-1].session is waiting


def test_the_budget_holds_and_is_spent_on_the_likeliest_tokens() -> None:
    sure, unsure = step(8, acceptance=0.99), step(8, acceptance=0.2)
    rows = plan([unsure, sure], budget=11)
    assert [len(row.ids) for row in rows] == [9, 2]
    rows = plan([step(7) for _ in range(20)], budget=64)
    assert len(rows) == 20
    assert sum(len(row.ids) for row in rows) == 64
    assert len(plan([step(7) for _ in range(20)], budget=12)) == 12


def test_drafted_tokens_that_do_not_pay_for_their_place_are_left_out() -> None:
    bound = ForwardTime(fixed=0.0, row=0.0, token=0.01)  # a token costs as much as a token brings: drafting loses
    assert [len(row.ids) for row in plan([step(8), step(8)], 100, bound)] == [1, 1]
    idle = ForwardTime(fixed=1.0, row=0.0, token=0.001)
    assert [len(row.ids) for row in plan([step(8)], 100, idle)] == [9]
    # At 0.5 a second token brings 0.5 for 0.1 s beside 1.1 s that bring one.
    between = ForwardTime(fixed=1.0, row=0.0, token=0.1)
    rate = 0.5
    (row,) = plan([step(8, acceptance=rate)], 100, between)
    gains = [sum(rate**i for i in range(n + 1)) / (1.0 + 0.1 * (n + 1)) for n in range(9)]
    assert len(row.ids) - 1 == gains.index(max(gains))


def test_lengths_are_proportionally_fair() -> None:
    """No other lengths have a larger sum of the logarithms of the sessions' tokens per second."""
    rates = (0.95, 0.8, 0.6, None)  # the last one streams
    for token_s in (0.002, 0.01, 0.03):
        sessions = [step(6, acceptance=rate) if rate else session(10, until=12, computed=9) for rate in rates]
        rows = plan(sessions, 400, ForwardTime(0.1, 0.0, token_s))

        def merit(lengths: tuple[int, ...], token_s: float = token_s) -> float:
            seconds = 0.1 + token_s * (len(rates) + sum(lengths))
            tokens = (sum(rate**i for i in range(n + 1)) if rate else 1 for rate, n in zip(rates, lengths, strict=True))
            return sum(math.log(count / seconds) for count in tokens)

        best = max(itertools.product(range(7), range(7), range(7), (0,)), key=merit)
        assert tuple(len(row.ids) - 1 for row in rows) == best


def test_nodes_get_equal_shares_where_not_all_fit() -> None:
    greedy, modest = [step(0, node="greedy") for _ in range(30)], [step(0, node="modest") for _ in range(2)]
    for made in (*greedy, *modest):
        made.until = 100
    scheduler = Scheduler(8, CHEAP, 16)
    served: dict[str, int] = {"greedy": 0, "modest": 0}
    for _ in range(10):
        rows = planned(scheduler, [*greedy, *modest]).rows
        scheduler.charge(rows)
        for row in rows:
            served[row.session.key.node] += 1
    assert served["modest"] == 20, "the modest node's sessions are in every forward"
    assert served["greedy"] == 60


def test_who_begins_as_another_does_waits_for_its_pages() -> None:
    first, second, other = (session(3 * PAGE_SIZE + 4, until=60) for _ in range(3))
    for made in (first, second):
        made.transcript.truncate(0)
        made.transcript.extend(range(2, 2 + 3 * PAGE_SIZE + 4))
    rows = plan([first, second, other], budget=256)
    assert [row.session for row in rows] == [first, other]


def test_advice_is_as_long_as_tokens_pay() -> None:
    assert advised_length(0.9, price=0.0, longest=16) == 16
    assert advised_length(0.8, price=0.2, longest=16) == 3  # 0.8 / 1, 0.64 / 1.8, 0.512 / 2.44, 0.41 / 2.952
    assert advised_length(0.2, price=0.0, longest=16) == 1, "the second is hardly ever reached"
    assert advised_length(0.1, price=0.9, longest=16) == 0


def test_the_price_is_that_at_the_best_length_and_streaming_is_one() -> None:
    time, rate = ForwardTime(fixed=0.1, row=0.0, token=0.005), 0.8
    steps = [step(4, acceptance=rate) for _ in range(8)]
    gains = [sum(rate**i for i in range(g + 1)) / (0.1 + 0.04 * (g + 1)) for g in range(17)]
    best = gains.index(max(gains))
    price = planned(Scheduler(256, time, 16), steps).price
    assert price is not None
    assert 0 < best < 8
    assert advised_length(rate, price, 16) == best
    waiting = planned(Scheduler(256, time, 16), steps, idle_s=1.0).price
    assert waiting is not None
    assert advised_length(rate, waiting, 16) == 0, "with a second's wait for drafts the hub had better stream"


def test_a_forwards_time_is_learnt_from_what_is_seen() -> None:
    time = ForwardTime()
    for _ in range(3):
        for rows, tokens in ((1, 1), (8, 8), (8, 48), (1, 64), (32, 32)):
            time.learn(rows, tokens, 0.1 + 0.001 * rows + 0.002 * tokens)
    assert abs(time.estimate(16, 96) / 0.308 - 1) < 0.02
    assert abs(time.fixed / 0.1 - 1) < 0.05
    for _ in range(250):
        time.learn(8, 48, 0.4)  # slower now; one shape alone can't say what of it
    assert abs(time.estimate(8, 48) / 0.4 - 1) < 0.3
    assert min(time.fixed, time.token) >= 0


STEPS = ForwardTime(fixed=0.010, row=0.0005, token=0.0005)  # 11 ms for an id, 1 ms for each more


def background(count: int, prompt: int = 10, computed: int = 9) -> list[HubSession]:
    return [
        session(prompt, until=prompt + 2, computed=computed, node=f"camera-{n}", service_class=ServiceClass.BACKGROUND)
        for n in range(count)
    ]


def test_lower_classes_lengthen_the_forwards_of_a_higher_one_by_a_fiftieth_on_average_and_none_starves() -> None:
    scheduler = Scheduler(256, STEPS, 16)
    voice = session(10, until=12, computed=9, service_class=ServiceClass.VOICE)
    cameras, served, beside = background(30), set(), 0
    for _ in range(400):
        plan_ = planned(scheduler, [voice, *cameras])
        scheduler.charge(plan_.rows)
        assert plan_.rows[0].session is voice
        beside += len(plan_.rows) - 1
        served |= {row.session for row in plan_.rows[1:]}
    assert beside == pytest.approx(400 * 0.02 * 11, abs=PAGE_SIZE), "an id takes 1 ms, the voice's forwards 11"
    assert served == set(cameras)


def test_a_prompt_of_a_lower_class_comes_in_small_pieces_beside_a_higher_one() -> None:
    scheduler = Scheduler(256, STEPS, 16)
    voice = session(10, until=12, computed=9, service_class=ServiceClass.VOICE)
    (camera,) = background(1, prompt=200, computed=0)
    for _ in range(500):
        rows = planned(scheduler, [voice, camera]).rows
        scheduler.charge(rows)
        for row in rows[1:]:
            assert len(row.ids) <= PAGE_SIZE
            camera.fed(row.end)
    assert camera.computed > 90


def test_forwards_of_lower_classes_end_soon_while_somebody_of_a_higher_one_may_come() -> None:
    scheduler, cameras = Scheduler(256, STEPS, 16), background(40)
    scheduler.admit(cameras)
    free = scheduler.plan(cameras, shared_keys().keys)
    bounded = scheduler.plan(cameras, shared_keys().keys, has_above=lambda _: True)
    assert len(free.rows) == 40
    assert len(bounded.rows) == 2, "rows of 1 ms beside a fixed 10 ms: a fifth longer than the shortest forward"
