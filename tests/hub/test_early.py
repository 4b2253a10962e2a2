"""Which forwards are asked for early verdicts, what the verdicts say, and how they are counted."""

from __future__ import annotations

import pytest
import torch

from hub.engine.early import EarlyVerdicts
from hub.engine.scheduler import PlannedRow
from hub.engine.stats import HubStats
from hub.sessions.session import HubSession, Limits, SessionKey
from shared.messages import AnyMessage, Draft, Early, Verdict

VOCAB = 16
LIMITS = Limits(context=64, vocab_size=VOCAB, end_ids=frozenset({1}), max_draft=8)


class Sent:
    """What was published, in order."""

    def __init__(self) -> None:
        self.messages: list[tuple[SessionKey, AnyMessage]] = []

    def __call__(self, key: SessionKey, message: AnyMessage) -> None:
        self.messages.append((key, message))


def planned(number: int, tokens: tuple[int, ...]) -> PlannedRow:
    """The row of a session with a prompt of three ids and these drafted tokens."""
    session = HubSession(SessionKey("node", bytes([number]) * 16), LIMITS)
    session.receive(Draft(1, 0, 0, tokens, 0 if tokens else 4, (5, 6, 7)))
    session.fed(2)
    return PlannedRow(session, 2, (7, *tokens), len(tokens) + 1, prefill=False)


def early(sent: Sent, stats: HubStats, rest: float | None = 0.5, least_s: float = 0.0) -> EarlyVerdicts:
    return EarlyVerdicts(rest, least_s, VOCAB, sent, stats)


def logits(ids: list[int]) -> torch.Tensor:
    """Logits [len(ids), vocab] whose largest are those of `ids`."""
    return torch.nn.functional.one_hot(torch.tensor(ids), VOCAB).float()


@pytest.mark.parametrize(
    ("rest", "least_s", "tokens", "asks"),
    [
        (0.5, 0.0, (8, 9), True),
        (None, 0.0, (8, 9), False),  # the target has no exit
        (0.5, 0.0, (), False),  # nothing was drafted
        (0.5, 0.049, (8, 9), True),  # half of a forward of 0.1 s is 0.05 s
        (0.5, 0.051, (8, 9), False),
    ],
)
def test_only_forwards_whose_rest_is_long_enough_are_asked(
    rest: float | None, least_s: float, tokens: tuple[int, ...], asks: bool
) -> None:
    rows = [planned(1, tokens)]
    asked = early(Sent(), HubStats(), rest, least_s).asked_of(rows, [row.row() for row in rows], forward_s=0.1)
    assert (asked is not None) is asks


def test_only_rows_with_drafted_tokens_are_told_and_each_by_its_own_places() -> None:
    sent, stats = Sent(), HubStats()
    rows = [planned(1, (8, 9)), planned(2, ()), planned(3, (4,))]
    asked = early(sent, stats).asked_of(rows, [row.row() for row in rows], forward_s=0.1)
    assert asked is not None
    assert list(asked.places) == [0, 1, 2, 4, 5], "the second row's only place, 3, is left out"
    asked.tell(logits([8, 3, 10, 4, 11]))
    assert sent.messages == [
        (rows[0].session.key, Early(1, 3, 1, (3,))),
        (rows[2].session.key, Early(1, 3, 1, (11,))),
    ]
    assert rows[0].session.committed == 3, "an early verdict commits nothing"
    assert stats.early == 2


@pytest.mark.parametrize(
    ("verdict", "right"),
    [(Verdict(1, 3, 1, (3,)), 1), (Verdict(1, 3, 1, (4,)), 0), (Verdict(1, 3, 0, (3,)), 0)],
)
def test_an_early_verdict_counts_as_right_when_the_verdict_is_the_same(verdict: Verdict, right: int) -> None:
    stats = HubStats()
    made = early(Sent(), stats)
    rows = [planned(1, (8, 9))]
    asked = made.asked_of(rows, [row.row() for row in rows], forward_s=0.1)
    assert asked is not None
    asked.tell(logits([8, 3, 10]))
    for _ in range(2):  # the second time nothing is left to compare with
        made.compare(rows[0].session.key, verdict)
    assert stats.early_right == right


def test_what_was_sent_in_the_forward_before_is_not_compared() -> None:
    stats = HubStats()
    made = early(Sent(), stats)
    rows = [planned(1, (8, 9))]
    asked = made.asked_of(rows, [row.row() for row in rows], forward_s=0.1)
    assert asked is not None
    asked.tell(logits([8, 3, 10]))
    made.asked_of([], [], forward_s=0.1)
    made.compare(rows[0].session.key, Verdict(1, 3, 1, (3,)))
    assert stats.early_right == 0
