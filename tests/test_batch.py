"""The plan: steps of decoding first, prompts in chunks within the budget."""

from __future__ import annotations

from hub.batch import Row, flatten, plan
from hub.session import HubSession, Limits, SessionKey
from shared.messages import Draft

LIMITS = Limits(context=400, vocab_size=50, end_ids=frozenset({1}), max_draft=8)


def session(prompt: int, tokens: int = 0, until: int = 0, computed: int = 0) -> HubSession:
    made = HubSession(SessionKey("node", bytes(16)), LIMITS)
    made.receive(Draft(1, 0, 0, (6,) * tokens, until, (5,) * prompt))
    made.computed = computed
    return made


def shapes(rows: list[Row]) -> list[tuple[int, int, int]]:
    return [(row.start, len(row.ids), row.wanted) for row in rows]


def test_verify_and_stream_rows_feed_the_last_committed_id_and_the_drafted() -> None:
    rows = plan([session(10, tokens=3, computed=9), session(7, until=9, computed=6)], budget=100)
    assert shapes(rows) == [(9, 4, 4), (6, 1, 1)]
    assert rows[0].ids == (5, 6, 6, 6)
    assert not any(row.prefill for row in rows)
    assert flatten(rows) == ([5, 6, 6, 6, 5], [9, 10, 11, 12, 6], [0, 1, 2, 3, 4])


def test_a_prompt_comes_in_chunks_and_never_stalls_a_step() -> None:
    long, step = session(300, until=301), session(10, tokens=3, computed=9)
    rows = plan([long, step], budget=64)
    assert shapes(rows) == [(9, 4, 4), (0, 60, 0)]
    assert flatten(rows)[2] == [0, 1, 2, 3]
    long.computed = 60
    assert shapes(plan([long], budget=64)) == [(60, 64, 0)]
    long.computed = 252
    assert shapes(plan([long], budget=64)) == [(252, 48, 1)]


def test_the_last_chunk_waits_when_the_drafted_tokens_do_not_fit() -> None:
    made = session(60, tokens=8, computed=0)
    assert shapes(plan([made], budget=64)) == [(0, 59, 0)]
    made.computed = 59
    assert shapes(plan([made], budget=64)) == [(59, 9, 9)]


def test_a_prompt_without_credit_is_fed_and_asks_for_nothing() -> None:
    made = session(20)
    assert shapes(plan([made], budget=64)) == [(0, 20, 0)]
    made.computed = 20
    assert plan([made], budget=64) == []


def test_the_budget_holds() -> None:
    rows = plan([session(10, tokens=7, computed=9) for _ in range(20)], budget=64)
    assert sum(len(row.ids) for row in rows) <= 64
    assert len(rows) == 8
