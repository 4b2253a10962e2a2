"""What a service counts of its answers."""

from __future__ import annotations

from dataclasses import replace

from edge_node.rounds.round_stats import RoundStats
from edge_node.service.chats import Chat
from edge_node.service.requests import read_request
from edge_node.service.tally import Tally
from edge_node.service.worker import Job, Reply


def job(**stats: float) -> Job:
    made = Job(read_request(b"what time is it?", 9), "", Reply(), Chat(None))
    made.answer.stats = replace(RoundStats(), **stats)  # type: ignore[arg-type]
    return made


def test_answers_are_summed_and_what_has_no_tokens_has_no_time() -> None:
    tally = Tally()
    tally.add(
        job(tokens=20, streamed=5, rounds=3, drafted=18, accepted=12, rejected=2, first_token_s=0.3, elapsed_s=2.0)
    )
    tally.add(job(tokens=4, streamed=4, rounds=1, reopened=1, first_token_s=40.0, elapsed_s=41.0))
    failed = job()
    failed.error = "no hub"
    tally.add(failed)
    unwanted = job()
    unwanted.is_unwanted.set()
    tally.add(unwanted)
    sums = (
        "answers",
        "errors",
        "cancelled",
        "tokens",
        "streamed",
        "rounds",
        "drafted",
        "accepted",
        "rejected",
        "reopened",
    )
    assert [tally.figures[name] for name in sums] == [4, 1, 1, 24, 9, 4, 18, 12, 2, 1]
    assert tally.figures["mode"] == "stream"  # of the last that has tokens
    assert (tally.written, tally.written_s) == (2, 43.0)
    assert tally.first_tokens.up_to == [0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 2]


def test_figures_are_told_when_they_have_changed() -> None:
    tally = Tally()
    assert tally.changed(waiting=0) is not None
    assert tally.changed(waiting=0) is None
    assert tally.changed(waiting=1) is not None
    tally.forget_told()
    assert tally.changed(waiting=1) is not None
