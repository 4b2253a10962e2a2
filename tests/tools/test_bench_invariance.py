"""A small run of the benchmark of bits compares what it promises, and finds what is planted."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tools.benches import bench
from tools.bench.feeding import Way


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shapes")  # where the shape is made once


@pytest.mark.slow
def test_the_bits_of_a_shape(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    figures = bench("invariance", "--targets", "2m", "--positions", "300", "--threads", "1")
    assert figures["different_bits"] == 0
    assert figures["positions"] >= 300
    assert figures["batches"] > 50
    target = figures["targets"]["2m"]
    assert target["comparisons"] > 4 * 300
    assert target["most_rows"] > 10
    assert set(target["different_by_way"]) == {way.value for way in Way}, "some of every way was compared"
    assert figures["exact"] == {"2m": True}


@pytest.mark.slow
def test_torch_s_own_linear_layers_are_found_out(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    options = ("--targets", "2m", "--positions", "200", "--threads", "1", "--planted")
    # In which type torch's bits move is a matter of the processor.
    found = [bench("invariance", *options, "--dtype", dtype) for dtype in ("bfloat16", "float32")]
    assert all(figures["exact"] == {"2m": False} for figures in found)
    moved = [figures for figures in found if figures["different_bits"]]
    assert moved
    assert moved[0]["targets"]["2m"]["examples"][0]["positions"]
