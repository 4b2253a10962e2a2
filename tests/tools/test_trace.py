"""Traces of a real hub and a real node: parts, clocks and timeline; both have one clock here, so what is found can be compared with the truth."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from edge_node.assembly import connected
from edge_node.dialogue.answer import Answer
from edge_node.dialogue.generation import Generation
from edge_node.settings import Mode
from shared.program import Program
from shared.trace_file import TraceFile
from tests.odd_inputs.case import Said, judge
from tests.odd_inputs.case import run as run_program
from tools.bench.trace import cost_off_ns, cost_on_us
from tools.bench.trace_picture import draw
from tools.rig.testbed import running_hub
from tools.trace.__main__ import main
from tools.trace.clocks import align
from tools.trace.records import (
    FORMS,
    Committed,
    Drafted,
    Forward,
    Heard,
    Planned,
    Published,
    Received,
    Record,
    Sent,
    Trace,
    of_kind,
    read,
)
from tools.trace.rounds import Kind, Part, Round, rounds_of

pytestmark = pytest.mark.slow  # a hub of its own

REQUESTS = (
    "turn on the kitchen lights and set the bedroom to 20 degrees",
    "add crisps and 3 limes to the shopping list",
)
TIMES = {"began", "ended", "came", "taken"}


@dataclass(frozen=True)
class Traced:
    """What a hub, a node that drafts and one that streams have left."""

    folder: Path
    texts: list[str]  # streamed, and then drafted: the answer to the first request, and to both
    drafting: Trace
    streaming: Trace
    hub: Trace

    @property
    def files(self) -> list[str]:
        return [str(trace.path) for trace in (self.drafting, self.streaming, self.hub)]


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory) -> Traced:
    folder = tmp_path_factory.mktemp("traces")
    texts = []

    def ask(node: Any, request: str) -> None:
        answer = Answer()
        for _ in node.ask(request, Generation(temperature=0.0), answer):
            pass
        texts.append(answer.text)

    options = ["--threads", "1", "--kv-memory", "64M", "--trace", str(folder / "hub")]
    with running_hub(["pi", "jetson"], hub_options=options) as bed:
        with connected(bed.node("jetson", mode=Mode.STREAM, trace=folder / "streaming")) as node:
            ask(node, REQUESTS[0])
        with connected(bed.node("pi", mode=Mode.SPECULATE, trace=folder / "drafting")) as node:
            for request in REQUESTS:
                ask(node, request)
            bed.end_hub()
    return Traced(folder, texts, read(folder / "drafting"), read(folder / "streaming"), read(folder / "hub"))


def rounds(node: Trace, hub: Trace) -> list[Round]:
    return rounds_of([node], hub, [align(node, hub)])


def written(trace: Trace, path: Path, change: Callable[[Record], Record]) -> Trace:
    """The trace as a file again, each record changed."""
    file = TraceFile(path, trace.head.side, trace.head.name)
    events = {form: event for event, form in FORMS.items()}
    for record in map(change, trace.records):
        file.note(events[type(record)], *record)
    file.close()
    return read(path)


def shifted(record: Record, by: int) -> Record:
    changed = {name: value + by for name, value in record._asdict().items() if name in TIMES}
    return record._replace(**changed)


def test_both_sides_write_each_event(traced: Traced) -> None:
    assert {type(record) for record in traced.drafting.records} == {Drafted, Sent, Heard, Committed}
    assert {type(record) for record in traced.hub.records} == {Received, Planned, Forward, Published}
    assert (traced.drafting.head.side, traced.drafting.head.name) == ("node", "pi")
    assert not any(trace.cut for trace in (traced.drafting, traced.streaming, traced.hub))
    assert not any(of_kind(traced.streaming, Drafted))
    sent = {(each.session, each.round): each for each in of_kind(traced.drafting, Sent)}
    for received in of_kind(traced.hub, Received):
        if (received.session, received.round) in sent:
            assert received.tokens == sent[received.session, received.round].tokens
    assert any(each.tokens > 1 for each in sent.values())


def test_the_text_is_the_targets_own(traced: Traced) -> None:
    streamed, drafted, _ = traced.texts
    assert streamed == drafted != ""


def test_what_the_engine_says_when_the_hub_ends_is_traced_too(traced: Traced) -> None:
    last = traced.hub.records[-1]
    assert isinstance(last, Published)
    assert last.message == "Fault"
    assert last.session in {each.session for each in of_kind(traced.drafting, Sent)}


def test_parts_of_a_round_follow_each_other_without_a_gap(traced: Traced) -> None:
    found = rounds(traced.drafting, traced.hub)
    sent = {(each.session, each.round) for each in of_kind(traced.drafting, Sent)}
    assert len(found) == len(sent) > 6
    assert {each.kind for each in found} >= {Kind.DRAFTED, Kind.PROMPT}
    for each in found:
        assert sum(each.parts.values()) == each.length > 0
        assert min(each.parts.values()) >= 0, each
        assert (each.parts[Part.FORWARD] > 0) == (each.forward is not None)
        assert each.forward is not None or each.kind is Kind.CREDIT
        assert each.kind is Kind.DRAFTED or each.parts[Part.DRAFTING] == 0
        assert each.beside <= each.length
    assert sum(each.parts[Part.DRAFTING] + each.beside for each in found) > 0
    streamed = rounds(traced.streaming, traced.hub)
    assert {each.kind for each in streamed} <= {Kind.PROMPT, Kind.CREDIT}
    assert not any(each.beside for each in streamed)


def test_a_round_is_as_long_as_from_commit_to_commit(traced: Traced) -> None:
    commits = [each.ended for each in of_kind(traced.drafting, Committed)]
    drafted = [each for each in rounds(traced.drafting, traced.hub) if each.kind is Kind.DRAFTED]
    assert drafted
    for each in drafted:
        place = commits.index(each.committed.ended)
        assert each.began == commits[place - 1]


@pytest.mark.parametrize("by", [0, 3_600_000_000_007, -86_400_000_000_000])
def test_clocks_that_differ_are_put_on_one(by: int, traced: Traced, tmp_path: Path) -> None:
    """In truth they differ by `by`, as the machine has one clock."""
    node = written(traced.drafting, tmp_path / "t", lambda record: shifted(record, by))
    clock = align(node, traced.hub)
    assert abs(clock.offset + by) <= clock.uncertainty < 50_000_000
    assert not clock.drifted
    straight = {each.sent.round: each for each in rounds(traced.drafting, traced.hub)}
    for each in rounds_of([node], traced.hub, [clock]):
        assert each.parts == straight[each.sent.round].parts
        received = next(r for r in of_kind(traced.hub, Received) if r[:2] == each.sent[:2])
        true_up = received.came - (each.sent.began - by)
        assert abs(each.parts[Part.UP] - true_up) <= clock.uncertainty


def test_a_clock_that_runs_faster_is_told(traced: Traced, tmp_path: Path) -> None:
    first = traced.drafting.head.began_ns

    def faster(record: Record) -> Record:
        moment = getattr(record, "ended", 0) or getattr(record, "taken", 0) or getattr(record, "came", 0)
        return shifted(record, 3 * (moment - first))

    said = told(str(written(traced.drafting, tmp_path / "t", faster).path), str(traced.hub.path))
    assert "and they drift: by" in said.out


def test_tables_and_figures_say_the_same(traced: Traced) -> None:
    printed, figures = told(*traced.files).out, json.loads(told(*traced.files, "--json").out)
    assert figures["sent"] == sum(kind["count"] for kind in figures["rounds"].values())
    assert set(figures["clocks"]) == {"pi", "jetson"}
    for kind in figures["rounds"].values():
        parts = [kind[part.value]["mean"] for part in Part]
        assert sum(parts) == pytest.approx(kind["round"]["mean"], abs=0.01)
        assert f"{kind['round']['mean']:.3f}" in printed
        assert f"{kind['forward']['p95']:.3f}" in printed
    assert f"{figures['clocks']['pi']['uncertainty_ms']:.3f} ms" in printed


def test_the_timeline_has_an_arrow_from_each_draft_to_its_verdict(traced: Traced, tmp_path: Path) -> None:
    told(*traced.files, "--chrome", str(tmp_path / "out.json"))
    events = json.loads((tmp_path / "out.json").read_text())["traceEvents"]
    slices = [event for event in events if event["ph"] == "X"]
    names = {event["pid"]: event["args"]["name"] for event in events if event["name"] == "process_name"}
    assert names == {1: "hub bench-hub", 2: "node pi", 3: "node jetson"}
    arrows: dict[int, list[dict[str, Any]]] = {}
    for event in events:
        if event["ph"] in {"s", "t", "f"}:
            arrows.setdefault(event["id"], []).append(event)
    found = [*rounds(traced.drafting, traced.hub), *rounds(traced.streaming, traced.hub)]
    assert len(arrows) == len(found)
    for number, arrow in arrows.items():
        over = ["t"] if found[number].forward is not None else []
        assert [event["ph"] for event in arrow] == ["s", *over, "f"]
        assert [event["ts"] for event in arrow] == sorted(event["ts"] for event in arrow)
        ends = [_within(event, slices) for event in arrow]
        went = found[number].sent.round
        assert ends == [f"send {went}", *(["forward " + str(went)] if over else []), f"commit {went}"]
    assert all(event["ts"] >= 0 for event in events if "ts" in event)
    named = {(event["pid"], event["tid"]) for event in events if event["name"] == "thread_name"}
    assert named == {(event["pid"], event["tid"]) for event in events if event["ph"] == "X"} | {(1, 0)}
    _check_nesting(slices)


def _within(event: dict[str, Any], slices: Sequence[dict[str, Any]]) -> str:
    """The name of the shortest slice that an arrow's end lies in, as Perfetto takes it."""
    lane = [each for each in slices if (each["pid"], each["tid"]) == (event["pid"], event["tid"])]
    around = [
        each for each in lane if each["ts"] <= event["ts"] + 1e-6 and event["ts"] <= each["ts"] + each["dur"] + 1e-6
    ]
    begun = [each for each in around if abs(each["ts"] - event["ts"]) < 1e-6]
    return str(min(begun or around, key=lambda each: each["dur"])["name"])


def _check_nesting(slices: Sequence[dict[str, Any]]) -> None:
    """Slices of a thread lie one behind the other or in each other, else no viewer can draw them."""
    lanes: dict[tuple[int, int], list[tuple[float, float]]] = {}
    for each in slices:
        lanes.setdefault((each["pid"], each["tid"]), []).append((each["ts"], each["ts"] + each["dur"]))
    for lane in lanes.values():
        open_ends: list[float] = []
        for began, ended in sorted(lane, key=lambda span: (span[0], -span[1])):
            while open_ends and open_ends[-1] <= began + 1e-3:
                open_ends.pop()
            assert not open_ends or ended <= open_ends[-1] + 1e-3
            open_ends.append(ended)


def test_tracing_takes_less_than_a_hundredth_of_the_engines_time(traced: Traced, tmp_path: Path) -> None:
    forwards = [each.parts[Part.FORWARD] / 1e3 for each in rounds(traced.drafting, traced.hub)]
    on_us, piece_us = cost_on_us(tmp_path / "t", 500)
    assert 0 < piece_us < on_us < 0.01 * sum(forwards) / len(forwards)
    assert cost_off_ns() / 1e3 < on_us / 10
    assert len(read(tmp_path / "t").records) == 5 * 500 * 5  # four of a round, and one of a piece


def test_the_picture_is_drawn(traced: Traced, tmp_path: Path) -> None:
    clock = align(traced.drafting, traced.hub)
    draw(traced.drafting, traced.hub, clock, rounds(traced.drafting, traced.hub), tmp_path / "t.png")
    assert (tmp_path / "t.png").read_bytes().startswith(b"\x89PNG")


def test_a_hub_that_was_killed_is_told_and_the_rest_read(traced: Traced, tmp_path: Path) -> None:
    content = traced.hub.path.read_bytes()
    (tmp_path / "cut").write_bytes(content[: len(content) * 3 // 4 + 3])
    said = told(str(traced.drafting.path), str(tmp_path / "cut"))
    assert "ends in the middle of a record: its program was killed" in said.out
    all_rounds = len(rounds(traced.drafting, traced.hub))
    assert 0 < len(rounds(traced.drafting, read(tmp_path / "cut"))) < all_rounds


def test_files_that_do_not_go_together_are_told(traced: Traced, tmp_path: Path) -> None:
    node, hub = str(traced.drafting.path), str(traced.hub.path)
    stranger = replace(traced.drafting, records=())
    written(stranger, tmp_path / "stranger", lambda record: record)
    (tmp_path / "letter").write_text("Dear Ada")
    for files, says in (
        ((node, node), "there are 0 of hubs and 2 of nodes"),
        ((hub,), "there are 1 of hubs and 0 of nodes"),
        ((node, hub, hub), "there are 2 of hubs and 1 of nodes"),
        ((str(tmp_path / "stranger"), hub), "have no draft and verdict in common"),
        ((str(tmp_path / "letter"), hub), "letter is no trace"),
        ((str(tmp_path / "nowhere"), hub), "cannot read the trace"),
        ((str(tmp_path), hub), "is no trace: it is no regular file"),
        ((node, hub, "--chrome", str(tmp_path)), "can't use"),
    ):
        judge(tell(*files), 1, says)


def tell(*arguments: str) -> Said:
    program = Program("tools.trace", RuntimeError)
    program.command()(main)
    return run_program(program, [*arguments])


def told(*arguments: str) -> Said:
    said = tell(*arguments)
    assert (said.status, said.err) == (0, "")
    return said
