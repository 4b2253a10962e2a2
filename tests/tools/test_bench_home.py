"""The benchmarks of the built-in pair run, and a small run of each shows what the large ones promise."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tools.benches import bench

pytestmark = pytest.mark.slow  # each starts a hub of its own


def test_exactness() -> None:
    figures = bench("exactness", "--requests", "16")
    assert figures["mismatches"] == 0
    assert figures["compared_tokens"] > 1000
    rows = figures["rounds"] + figures["streamed"]
    assert 3 * figures["target_forwards"] <= 2 * rows, "a forward is shared by rows of several sessions"
    assert all(figures[counter] > 0 for counter in ("trimmed", "shared_tokens", "preempted"))
    histogram = figures["accepted_histogram"]
    assert histogram["0"] > 0, "the random draft is rejected"
    assert histogram["8"] > 0, "the built-in draft is accepted"
    assert all(figures[counter] > 0 for counter in ("streamed", "drafted_ahead", "early", "switched"))


def test_exactness_in_bfloat16() -> None:
    figures = bench("exactness", "--requests", "4", "--dtype", "bfloat16")
    assert (figures["mismatches"], figures["dtype"], figures["weights"]) == (0, "bfloat16", "auto")
    assert figures["plain_positions"] == figures["compared_tokens"] > 200
    assert 0 <= figures["plain_flips_greedy"] <= figures["plain_flips"] < 0.1 * figures["plain_positions"]


def test_pair(tmp_path: Path) -> None:
    figures = bench("pair", "--requests", "40", "--errors", str(tmp_path / "errors.txt"))
    assert figures["target_exact_match"] >= 0.75
    assert figures["committed_per_round"] >= 3.0
    assert 0 < figures["acceptance_t08"] <= figures["best_coupling_t08"] + 0.03  # the one is a mean over chances
    errors = (tmp_path / "errors.txt").read_text()
    wrong = errors.count("[seen]\n") + errors.count("[new]\n")
    shares = (figures["target_exact_match"], figures["target_exact_match_new_phrasing"])
    assert wrong == round(sum(40 * (1 - share) for share in shares))
    assert figures["must_change_nothing"] == 20
    assert figures["acted_wrongly"] <= 0.1
    assert 0 < figures["asked_back"]["nothing"] < 1
    assert figures["usual"] >= 0.9
    assert figures["typed_variants"] > 0.9
    assert set(figures["exact_by_home_size"]) == {"5", "20", "50", "100", "400"}
    assert bool(wrong) == any(figures["confusion"].values())
    assert set(figures["slot_errors"]) == {"seen", "new"}


def test_prefix() -> None:
    figures = bench("prefix")
    assert figures["prefill_tokens_asked"] > 32 * 512
    assert figures["own_tokens"] <= figures["prefill_tokens_computed"] <= 1.1 * 512 + figures["own_tokens"]


def test_many_sessions_are_answered_and_forgotten() -> None:
    figures = bench("sessions", "--count", "12", "--churned", "60")
    assert (figures["answered"], figures["lost"], figures["left_open"]) == (120, 0, 10)
    assert figures["p50_ms"] > 0
    assert figures["rss_growth_mb"] < 20


def test_round() -> None:
    figures = bench("round", "--requests", "20")
    assert figures["bytes_up_per_round"] <= 80
    assert figures["bytes_down_per_round"] <= 80
    assert figures["rounds"] > 50


def test_modes() -> None:
    figures = bench("modes", "--requests", "3")
    assert figures["same_text"] is True


def test_early_verdicts_of_the_pair() -> None:
    figures = bench("early", "--requests", "8")
    assert figures["early"] == figures["rounds"] > 20
    assert figures["early_agreement_per_token"] >= figures["early_agreement"] > 0.8
    assert figures["lead_ms"] > 0, "an early verdict is published before its verdict"
    assert 0 < figures["lead_share"] < 1


def test_constrained() -> None:
    figures = bench("constrained", "--answers", "12")
    assert (figures["answers"], figures["invalid"], figures["mismatches"]) == (12, 0, 0)
    assert figures["compared_tokens"] > 25
    assert 0 < figures["mask_share"] < 0.3
    assert 0 < figures["forced_share"] < 1
    assert figures["speedup"] > 0
