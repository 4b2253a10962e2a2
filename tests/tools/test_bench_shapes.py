"""The benchmarks of targets that are shapes alone run, and a small run of each shows what the large ones promise."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from tests.tools.benches import bench
from tools.bench import neighbour

pytestmark = pytest.mark.slow  # each measures for seconds


def near(share: float, expected: float, count: int) -> bool:
    """Whether a share of so many is what chance makes of the expected one: within four standard deviations.

    On a busy machine a run of seconds is a run of few.
    """
    return count > 0 and abs(share - expected) <= 4 * math.sqrt(expected * (1 - expected) / count)


def test_capacity_over_the_broker() -> None:
    figures = bench("capacity", "--shape", "2m", "--sessions", "4", "--pairs", "1", "--seconds", "0.5", "--watts", "40")
    assert near(figures["alpha_realised"], 0.8, figures["compared_tokens"])
    assert figures["speculate_tokens_per_s"] > 0
    assert figures["stream_over_bare"] > 0
    assert 0 < figures["verified_per_round"] <= figures["drafted_per_round"]
    assert 0 < figures["forward_share"] <= 1
    for mode in ("stream", "speculate"):
        forward_s, joules = figures[f"{mode}_forward_s_per_1000"], figures[f"{mode}_joules_per_1000"]
        assert forward_s > 0
        if figures["energy"] == "stated":
            assert joules == pytest.approx(40 * forward_s, rel=0.01)
        else:
            assert (figures["energy"], joules > 0) == ("measured", True)


def test_capacity_in_memory_with_weights_in_int8() -> None:
    options = ("--transport", "memory", "--weights", "int8", "--dtype", "float32")
    figures = bench("capacity", "--shape", "2m", "--sessions", "2", "--pairs", "1", "--seconds", "0.5", *options)
    assert near(figures["alpha_realised"], 0.8, figures["compared_tokens"])
    assert figures["bare_over_floor"] > 0
    assert (figures["transport"], figures["weights"], figures["dtype"]) == ("memory", "int8", "float32")
    assert (figures["energy"], figures["stream_joules_per_1000"]) == ("unknown", "unknown")


def test_neighbour(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbour, "_SETTLE_S", 0.2)  # how fast a hub settles down is not looked at
    figures = bench("neighbour", "--shape", "2m", "--dtype", "float32", "--pairs", "1", "--seconds", "0.2")
    ratios = figures["ratios"]
    assert {(mode, count) for mode, row in ratios.items() for count in row} == {
        (mode, count) for mode in ("stream", "speculate") for count in ("1", "8")
    }
    assert figures["throughput_ratio_with_one_busy_process"] == min(r for row in ratios.values() for r in row.values())
    assert figures["throughput_ratio_with_one_busy_process"] > 0


def test_overhead() -> None:
    figures = bench("overhead", "--shape", "2m", "--dtype", "float32", "--pairs", "1", "--seconds", "0.2")
    assert all(figures[f"ratio_{n}"] > 0 and figures[f"step_ms_{n}"] > 0 for n in (1, 8, 32))


def test_metrics() -> None:
    figures = bench("metrics", "--shape", "2m", "--scrapes", "3")
    low, high = figures["lost_ms_range"]
    assert low <= figures["lost_ms"] <= high
    assert figures["busy_percent"] == pytest.approx(figures["lost_ms"] / 10, abs=0.001)
    assert figures["scrape_cpu_ms"] > 0
    assert figures["scrape_bytes"] > 1000


def test_draft() -> None:
    figures = bench("draft", "--shape", "2m", "--threads", "1", "--precision", "int4", "--pairs", "1")
    rows = figures["tokens_per_s"]
    assert [(r["precision"], r["threads"], r["context"], r["head"]) for r in rows] == [
        ("int4", 1, context, head) for context in (128, 1024) for head in (4096, 1024)
    ]
    assert all(row["tokens_per_s"] > 0 and row["prefill_tokens_per_s"] > 0 for row in rows)
    assert (figures["llama_cpp_ratio"] is None) == any(row["llama_cpp_ratio"] is None for row in rows)
    assert all(row["same_tokens"] in {True, None} for row in rows if row["head"] == 4096)
    assert all(p["MatMulNBits"] > 0 and p["SkipSimplifiedLayerNormalization"] > 0 for p in figures["us_by_operator"])


def test_early_verdicts_of_a_shape() -> None:
    figures = bench("early", "--shape", "2m", "--dtype", "float32", "--sessions", "4", "--seconds", "1")
    assert 0 < figures["early"] <= figures["rounds"]
    ids = min(figures["early_ids"], 4 * 96)  # the sessions ask for the same text again and again
    assert near(figures["early_agreement_per_token"], 0.935, ids)
    assert near(figures["alpha_realised"], 0.8, figures["compared_tokens"])
    assert figures["lead_ms"] > 0


def test_latency_of_every_mode(tmp_path: Path) -> None:
    state = tmp_path / "cells.jsonl"
    options = ("--only", "10,2,0.8", "--out", str(tmp_path / "map.png"), "--state", str(state))
    figures = bench("latency", "--shape", "2m", *options)
    cells = {cell["mode"]: cell for cell in figures["cells"]}
    assert list(cells) == ["stream", "speculate", "ahead", "early", "auto"]
    assert all(cell["ms_per_token"] > 0 and cell["rtt_ms"] == 10 and cell["draft_ms"] == 2 for cell in cells.values())
    assert all(0.7 < cells[mode]["alpha"] < 0.9 for mode in ("speculate", "ahead", "early"))
    assert cells["stream"]["ratio"] == 1.0
    assert figures["first_token_ratio"] > 0
    assert (tmp_path / "map.png").stat().st_size > 10_000
    written = state.read_text()
    assert bench("latency", "--shape", "2m", *options)["cells"] == figures["cells"], (
        "what is there is not measured again"
    )
    assert state.read_text() == written
