"""Where the characters of an answer are from, and what its rounds were."""

from __future__ import annotations

from dataclasses import astuple

from hypothesis import given
from hypothesis import strategies as st

from edge_node.dialogue.source_runs import SourceRuns, told_runs
from edge_node.dialogue.tokenizer import ChatTokenizer
from edge_node.rounds.progress import Source
from edge_node.rounds.round_stats import RoundStats
from shared.pair import load_pair

TOKENIZER = ChatTokenizer(load_pair("home"))
TEXT = "Grüße ✓, and 👩‍🚀 turned the lights on."
IDS = tuple(TOKENIZER.tokenizer.encode(TEXT, add_special_tokens=False).ids)


@given(st.lists(st.sampled_from(Source), min_size=len(IDS), max_size=len(IDS)), st.data())
def test_runs_are_those_of_tokens_however_they_come(sources: list[Source], data: st.DataObject) -> None:
    runs, at = SourceRuns(), 0
    while at < len(IDS):
        end = data.draw(st.integers(at + 1, len(IDS)))
        runs.add(TOKENIZER.decode, IDS[:end], sources[at:end])
        at = end
    expected: list[Source] = []
    for count, source in enumerate(sources, 1):
        written = len(TOKENIZER.decode(IDS[:count]).rstrip("\ufffd"))
        expected += [source] * (written - len(expected))
    start = data.draw(st.integers(0, len(TEXT)))
    end = data.draw(st.integers(start, len(TEXT) + 3))
    assert [source for source, length in runs.between(start, end) for _ in range(length)] == expected[start:end]


def test_programs_are_told_of_runs_by_name() -> None:
    runs = SourceRuns()
    for text, source in (("abc", Source.DRAFTED), ("abcd", Source.CORRECTED), ("abcdef", Source.DRAFTED)):
        runs.add(lambda ids: "".join(map(chr, ids)), list(map(ord, text)), [source])
    assert told_runs(runs, 1, 6) == [["drafted", 2], ["corrected", 1], ["drafted", 2]]
    assert told_runs(runs, 0, 2, provisional=4) == [["drafted", 2], ["provisional", 4]]
    assert told_runs(SourceRuns(), 0, 9) == []


def test_steps_are_rounds_and_streamed_tokens_in_a_row_are_one() -> None:
    stats = RoundStats()
    stats.step(0, [Source.TARGET])
    stats.step(0, [Source.TARGET, Source.TARGET])
    stats.early += 1
    stats.step(4, [Source.DRAFTED, Source.DRAFTED, Source.CORRECTED])
    stats.step(2, [Source.DRAFTED, Source.DRAFTED, Source.TARGET])
    assert [astuple(step) for step in stats.steps] == [(0, 0, 0, 3, 0), (4, 2, 1, 0, 1), (2, 2, 0, 1, 0)]
    for _ in range(300):
        stats.step(1, [Source.CORRECTED])
    assert len(stats.steps) == 256
