"""The benchmarks run, and a small run of each shows what the large ones promise."""

from __future__ import annotations

import io
import json
import math
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from tools.bench.__main__ import app


def bench(*arguments: str) -> dict[str, Any]:
    """The figures that the command prints, run in this process: importing torch and transformers takes longer than most."""
    printed = io.StringIO()
    with redirect_stdout(printed):
        app([*arguments, "--json"], standalone_mode=False)
    figures: dict[str, Any] = json.loads(printed.getvalue().splitlines()[-1])
    return figures


def near(share: float, expected: float, count: int) -> bool:
    """Whether a share of so many is what chance makes of the expected one: within four standard deviations.

    On a busy machine a run of seconds is a run of few.
    """
    return count > 0 and abs(share - expected) <= 4 * math.sqrt(expected * (1 - expected) / count)


def test_exactness() -> None:
    figures = bench("exactness", "--requests", "24")
    assert figures["mismatches"] == 0
    assert figures["compared_tokens"] > 1500
    assert figures["target_forwards"] <= figures["rounds"]
    assert all(figures[counter] > 0 for counter in ("trimmed", "shared_tokens", "preempted"))
    histogram = figures["accepted_histogram"]
    assert histogram["0"] > 0, "the random draft is rejected"
    assert histogram["8"] > 0, "the built-in draft is accepted"
    assert all(figures[counter] > 0 for counter in ("streamed", "drafted_ahead", "early", "switched"))


def test_pair(tmp_path: Path) -> None:
    figures = bench("pair", "--requests", "100", "--errors", str(tmp_path / "errors.txt"))
    assert figures["target_exact_match"] >= 0.8
    assert figures["committed_per_round"] >= 3.0
    assert 0 < figures["acceptance_t08"] <= figures["best_coupling_t08"] + 0.03  # the one is a mean over chances
    wrong = (tmp_path / "errors.txt").read_text().count("expected: ")
    shares = (figures["target_exact_match"], figures["target_exact_match_new_phrasing"])
    assert wrong == round(sum(100 * (1 - share) for share in shares))
    assert bool(wrong) == any(figures["confusion"].values())
    assert set(figures["slot_errors"]) == {"seen", "new"}


def test_capacity_over_the_broker() -> None:
    figures = bench("capacity", "--shape", "2m", "--sessions", "4", "--pairs", "1", "--seconds", "3")
    assert near(figures["alpha_realised"], 0.8, figures["compared_tokens"])
    assert figures["speculate_tokens_per_s"] > 0
    assert figures["stream_over_bare"] > 0
    assert 0 < figures["verified_per_round"] <= figures["drafted_per_round"]
    assert 0 < figures["forward_share"] <= 1


def test_capacity_in_memory_with_weights_in_int8() -> None:
    options = ("--transport", "memory", "--weights", "int8", "--dtype", "float32")
    figures = bench("capacity", "--shape", "2m", "--sessions", "2", "--pairs", "1", "--seconds", "2", *options)
    assert near(figures["alpha_realised"], 0.8, figures["compared_tokens"])
    assert figures["bare_over_floor"] > 0
    assert (figures["transport"], figures["weights"], figures["dtype"]) == ("memory", "int8", "float32")


def test_overhead() -> None:
    figures = bench("overhead", "--shape", "2m", "--dtype", "float32", "--pairs", "1", "--seconds", "2")
    assert all(figures[f"ratio_{n}"] > 0 and figures[f"step_ms_{n}"] > 0 for n in (1, 8, 32))


def test_draft() -> None:
    figures = bench("draft", "--shape", "2m", "--threads", "1", "--pairs", "2")
    rows = figures["tokens_per_s"]
    assert [(r["precision"], r["threads"], r["context"], r["head"]) for r in rows] == [
        (precision, 1, context, head)
        for precision in ("int4", "int8")
        for context in (128, 1024)
        for head in (4096, 1024)
    ]
    assert all(row["tokens_per_s"] > 0 and row["prefill_tokens_per_s"] > 0 for row in rows)
    assert (figures["llama_cpp_ratio"] is None) == any(row["llama_cpp_ratio"] is None for row in rows)
    assert all(row["same_tokens"] in {True, None} for row in rows if row["head"] == 4096)
    assert all(p["MatMulNBits"] > 0 and p["SkipSimplifiedLayerNormalization"] > 0 for p in figures["us_by_operator"])


def test_prefix() -> None:
    figures = bench("prefix")
    assert figures["prefill_tokens_asked"] > 32 * 512
    assert figures["own_tokens"] <= figures["prefill_tokens_computed"] <= 1.1 * 512 + figures["own_tokens"]


def test_many_sessions_are_answered_and_forgotten() -> None:
    figures = bench("sessions", "--count", "60", "--churned", "100")
    assert (figures["answered"], figures["lost"], figures["left_open"]) == (600, 0, 10)
    assert figures["p50_ms"] > 0
    assert figures["rss_growth_mb"] < 20


def test_round() -> None:
    figures = bench("round", "--requests", "20")
    assert figures["bytes_up_per_round"] <= 80
    assert figures["bytes_down_per_round"] <= 80
    assert figures["rounds"] > 50


def test_modes() -> None:
    figures = bench("modes", "--requests", "5")
    assert figures["same_text"] is True


def test_early_verdicts_of_the_pair() -> None:
    figures = bench("early", "--requests", "8")
    assert figures["early"] == figures["rounds"] > 20
    assert figures["early_agreement_per_token"] >= figures["early_agreement"] > 0.8
    assert figures["lead_ms"] > 0, "an early verdict is published before its verdict"
    assert 0 < figures["lead_share"] < 1


def test_early_verdicts_of_a_shape() -> None:
    figures = bench("early", "--shape", "2m", "--dtype", "float32", "--sessions", "4", "--seconds", "2")
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
