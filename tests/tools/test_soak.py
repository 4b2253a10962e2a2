"""A soak runs, and its figures show a leak where there is one and none where there is none."""

from __future__ import annotations

import math
import os
import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from shared.errors import SettingsError
from tests.tools.benches import bench
from tools.bench.soak_nodes import Ledger, chats
from tools.bench.soak_samples import Sample, figures, growth_per_hour, read
from tools.rig.usage import Usage, usage

_COMPARED = ("p50_ms", "p95_ms", "p99_ms", "hub_cpu_ms_per_answer")


def made_up(minutes: int, leak_mb_per_hour: float, slower: float = 1.0) -> list[Sample]:
    """A sample each 10 s: memory that warms up for 5 minutes, noise of 0.5 MB, a leak of the hub, and answers that are slower at the end."""
    rng = random.Random(3)
    count = 6 * minutes
    samples = []
    for number in range(count + 1):
        at_s = 10.0 * number
        warm = 50 * min(1.0, at_s / 300)
        hub = Usage(400 + warm + leak_mb_per_hour * at_s / 3600 + rng.uniform(-0.5, 0.5), 2.0 * number, 5, 6)
        node = Usage(100 + rng.uniform(-0.5, 0.5), 1.0 * number, 3, 11)
        took = tuple(rng.uniform(90, 110) * (slower if number > count // 2 else 1) for _ in range(20 if number else 0))
        samples.append(Sample(at_s, took, len(took), 0, 0, 0.3, {"hub": hub, "node": node}))
    return samples


@pytest.mark.parametrize("leak", [0.0, 2.0, 20.0, -5.0])
def test_growth_is_that_of_the_leak_and_not_of_the_warming_up(leak: float) -> None:
    processes = figures(made_up(60, leak), cores=2)["processes"]
    assert processes["hub"]["growth_mb_per_hour"] == pytest.approx(leak, abs=0.5)
    assert processes["node"]["growth_mb_per_hour"] == pytest.approx(0, abs=0.5)
    assert processes["hub"]["rss_last_mb"] - processes["hub"]["rss_first_mb"] == pytest.approx(50 + leak, abs=1.1)


def test_growth_of_a_straight_line() -> None:
    assert growth_per_hour((second, 7 + second / 3600) for second in range(100)) == pytest.approx(1)
    assert growth_per_hour((second, 7.0) for second in range(100)) == 0


def test_quarters_are_compared() -> None:
    same, slower = figures(made_up(20, 0), cores=2), figures(made_up(20, 0, slower=1.5), cores=2)
    assert same["p50_ms_ratio"] == pytest.approx(1, abs=0.03)
    assert slower["p50_ms_ratio"] == pytest.approx(1.5, abs=0.05)
    assert slower["p95_ms_last_quarter"] == pytest.approx(1.5 * slower["p95_ms_first_quarter"], rel=0.03)
    assert same["hub_cpu_ms_per_answer_first_quarter"] == 100, "2 s of a core for 20 answers"
    assert same["hub_cpu_ms_per_answer_ratio"] == 1
    assert (same["answers"], same["compared"], same["minutes"]) == (2400, 2400, 20)
    assert same["cpu_share"] == 0.15, "3 s of two cores' 20"


def test_a_quarter_without_answers_has_no_figures() -> None:
    samples = [replace(sample, answers_ms=() if sample.at_s > 450 else sample.answers_ms) for sample in made_up(10, 0)]
    result = figures(samples, cores=2)
    assert result["p50_ms_first_quarter"] > 0
    assert result["p50_ms_last_quarter"] is result["p50_ms_ratio"] is result["hub_cpu_ms_per_answer_ratio"] is None


def test_samples_come_back_from_their_file(tmp_path: Path) -> None:
    file = tmp_path / "samples.jsonl"
    samples = [replace(sample, answers_ms=tuple(map(float, sample.answers_ms))) for sample in made_up(2, 1)]
    file.write_text("".join(f"{sample.to_json()}\n" for sample in samples))
    assert figures(read(file), 2) == figures(samples, 2)


@pytest.mark.parametrize("text", ["", "{}", "no samples\n", made_up(1, 0)[0].to_json()])
def test_a_file_without_samples_is_refused_in_a_sentence(tmp_path: Path, text: str) -> None:
    (file := tmp_path / "samples.jsonl").write_text(text)
    with pytest.raises(SettingsError, match=r"samples\.jsonl"):
        read(file)


def test_another_answer_than_the_first_is_wrong() -> None:
    ledger = Ledger()
    first = {"chat": 1, "turn": 0, "ids": [4, 5], "began": 1.0, "ended": 1.5}
    for report in (first, first, first | {"ids": [4, 6]}, first | {"turn": 1, "ids": [9]}):
        assert not ledger.enter("node", report)
    assert ledger.enter("node", {"chat": 1, "turn": 2, "failed": "LinkError: gone"})
    assert ledger.enter("node", {"chat": 1, "done": True})
    tally = ledger.take()
    assert tally.answers_ms == [500.0] * 4
    assert (tally.compared, tally.wrong, tally.failed, tally.chatted) == (2, 1, 1, {"node"})
    assert ledger.take().answers_ms == []


def test_chats_are_the_same_each_time_and_differ_among_each_other() -> None:
    held = chats(30)
    assert held == chats(30)
    assert len({chat.requests for chat in held}) == 30
    assert {len(chat.requests) for chat in held} == {1, 2, 3, 12}


def test_usage_counts_what_a_process_has_started() -> None:
    code = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import os; b = bytes(30_000_000); print(1, flush=True); input()'])"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        both = usage(process.pid)
        process.communicate(b"\n")
    assert both.threads == 2
    assert both.rss_mb > 15
    assert both.fds >= 6
    assert usage(process.pid) == Usage(0, 0, 0, 0)


def test_usage_of_this_process() -> None:
    before = usage(os.getpid())
    with Path(__file__).open() as _:
        assert usage(os.getpid()).fds == before.fds + 1
    while usage(os.getpid()).cpu_s < before.cpu_s + 0.1:
        math.factorial(2000)


@pytest.mark.slow
def test_a_short_soak(tmp_path: Path) -> None:
    samples, plot = tmp_path / "samples.jsonl", tmp_path / "soak.png"
    options = ("--minutes", "0.067", "--every", "0.5", "--pause", "0", "--chats", "1")
    result = bench("soak", *options, "--samples", str(samples), "--plot", str(plot))
    assert (result["wrong"], result["failed"]) == (0, 0)
    assert result["answers"] >= result["compared"] > 0
    assert set(result) >= {f"{key}_{part}" for key in _COMPARED for part in ("first_quarter", "last_quarter", "ratio")}
    assert 0 < result["cpu_share"] <= 1
    assert set(result["processes"]) == {"hub", "node", "streaming-node", "broker"}
    for process in result["processes"].values():
        assert process["rss_last_mb"] > 0
        assert process["fds_last"] > 0
        assert process["threads_last"] > 0
    assert len(samples.read_text().splitlines()) == 9
    assert plot.stat().st_size > 10_000
    assert bench("soak", "--minutes", "0", "--samples", str(samples)) == result, (
        "the file alone gives the figures again"
    )
