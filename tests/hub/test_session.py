"""What a session on the hub commits, and what it refuses."""

from __future__ import annotations

import pytest

from hub.sessions.session import HubSession, Limits, SessionKey
from shared.messages import Draft, Fault, FaultCode, Finish, Verdict
from shared.sampling_parameters import Sampling
from shared.transcript import Transcript

END = 1


def session(context: int = 20) -> HubSession:
    return HubSession(SessionKey("node", bytes(16)), Limits(context, 100, frozenset({END}), max_draft=4))


def digest(ids: list[int]) -> int:
    transcript = Transcript()
    transcript.extend(ids)
    return transcript.digest(len(ids))


def opened(prompt: list[int], tokens: tuple[int, ...] = (), until: int = 0, context: int = 20) -> HubSession:
    made = session(context)
    made.receive(Draft(1, 0, 0, tokens, until, tuple(prompt)))
    return made


def test_accepts_drafted_tokens_while_they_equal_the_targets() -> None:
    made = opened([5, 6], tokens=(7, 8, 9))
    assert made.commit([7, 8, 4, 3]) == Verdict(1, 2, accepted=2, ids=(4,))
    assert list(made.transcript.ids) == [5, 6, 7, 8, 4]
    assert (made.computed, made.committed, made.wants_tokens) == (4, 5, False)


def test_full_acceptance_earns_a_bonus_token() -> None:
    assert opened([5], tokens=(7, 8)).commit([7, 8, 9]) == Verdict(1, 1, accepted=2, ids=(9,))


def test_an_accepted_end_ends_the_answer_without_a_bonus() -> None:
    made = opened([5], tokens=(7, END, 9))
    assert made.commit([7, END, 9, 3]) == Verdict(1, 1, accepted=2, ids=(), finish=Finish.END)
    assert list(made.transcript.ids) == [5, 7, END]
    assert not made.wants_tokens


def test_the_targets_own_end_ends_the_answer() -> None:
    assert opened([5], tokens=(7,)).commit([END, 3]).finish is Finish.END


def test_streams_up_to_the_credit_and_no_further() -> None:
    made = opened([5], until=3)
    assert made.wants_tokens
    made.commit([6])
    assert made.wants_tokens
    made.commit([7])
    assert not made.wants_tokens


def test_a_duplicate_adds_no_credit_and_repeats_the_answer() -> None:
    made = opened([5], tokens=(7, 8))
    first = Draft(1, 0, 0, (7, 8), 0, (5,))
    assert made.receive(first) is None, "nothing is answered yet"
    made.commit([7, 4, 4])
    assert made.receive(first) == Verdict(1, 1, 0, (7, 4))
    assert not made.wants_tokens


def test_a_full_context_ends_the_answer() -> None:
    made = opened([5] * 18, tokens=(7, 8, 9, 6), context=20)
    assert made.drafted == (7,), "one place is the target's own"
    verdict = made.commit([7, 8])
    assert (verdict.finish, made.committed) == (Finish.LENGTH, 20)
    full = opened([5] * 20, until=30, context=20)
    assert (full.finish, full.wants_tokens) == (Finish.LENGTH, False)


def test_a_cut_with_nothing_else_cancels() -> None:
    made = opened([5, 6], until=19)
    made.commit([7])
    reply = made.receive(Draft(2, 2, digest([5, 6]), cut=True))
    assert reply == Verdict(2, 2)
    assert not made.wants_tokens
    assert list(made.transcript.ids) == [5, 6]
    assert made.computed <= 2


def test_a_cut_makes_what_was_computed_behind_it_void() -> None:
    made = opened([5, 6, 7, 8], until=6)
    made.commit([9])
    made.receive(Draft(2, 2, digest([5, 6]), append=(3, 3, 3, 3), cut=True, until=9))
    assert made.computed == 2


@pytest.mark.parametrize(
    ("draft", "code"),
    [
        (Draft(2, 2, digest([5, 6]), append=(3,) * 30), FaultCode.TOO_LONG),
        (Draft(2, 2, digest([5, 6]), append=(100,)), FaultCode.BAD_REQUEST),
        (Draft(2, 2, digest([5, 6]), tokens=(100,)), FaultCode.BAD_REQUEST),
        (Draft(2, 3, 7), FaultCode.OUT_OF_SYNC),
    ],
)
def test_what_is_refused_changes_nothing(draft: Draft, code: FaultCode) -> None:
    made = opened([5, 6])
    reply = made.receive(draft)
    assert isinstance(reply, Fault)
    assert (reply.code, reply.round) == (code, 2)
    assert (list(made.transcript.ids), made.round) == ([5, 6], 1)


def test_tells_how_sure_the_target_was_only_where_that_is_wanted_and_known() -> None:
    made = session()
    prompt = Draft(1, 0, digest([]), (7, 8), 2, (5,), sampling=Sampling(), wants_surprisal=True)
    assert made.receive(prompt) is None
    first = made.commit([7, 4, 9], [10, 20, 30])
    assert first == Verdict(1, 1, accepted=1, ids=(4,), surprisal=(10, 20))
    assert made.receive(Draft(2, 3, digest([5, 7, 4]), until=4)) is None
    assert made.commit([6], [40]).surprisal == (40,)
    missed = made.receive(Draft(3, 1, digest([5]), until=5))
    assert missed == Verdict(3, 1, 0, (7, 4, 6), surprisal=(10, 20, 40))
    cut = made.receive(Draft(4, 2, digest([5, 7]), cut=True))
    assert cut == Verdict(4, 2)
    assert made.receive(Draft(5, 2, digest([5, 7]), until=3)) is None
    assert made.commit([3], [50]).surprisal == (50,)
    again = Draft(6, 3, digest([5, 7, 3]), (), 5, (2,), sampling=Sampling())
    assert made.receive(again) is None
    assert made.commit([9]).surprisal == ()


def test_tokens_behind_nothing_are_refused() -> None:
    reply = session().receive(Draft(1, 0, 0, until=5))
    assert isinstance(reply, Fault)
    assert reply.code is FaultCode.BAD_REQUEST
