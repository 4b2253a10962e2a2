"""What a checkpoint becomes for llama.cpp, and how a hub is compared with it."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

from shared.errors import SettingsError
from tools.bench.llama import _interleaved, find_peer
from tools.bench.peers import Measured, summed_up


def test_rotating_neighbours_is_rotating_halves() -> None:
    rng = np.random.default_rng(0)
    heads, width, size = 3, 8, 5
    rows, hidden = rng.normal(size=(heads * width, size)).astype(np.float32), rng.normal(size=size).astype(np.float32)
    angles = rng.normal(size=width // 2).astype(np.float32)
    cos, sin = np.cos(angles), np.sin(angles)
    halves = (rows @ hidden).reshape(heads, 2, width // 2)
    first, second = halves[:, 0] * cos - halves[:, 1] * sin, halves[:, 1] * cos + halves[:, 0] * sin
    pairs = (_interleaved(rows, heads) @ hidden).reshape(heads, width // 2, 2)
    rotated = np.stack([pairs[..., 0] * cos - pairs[..., 1] * sin, pairs[..., 1] * cos + pairs[..., 0] * sin], axis=-1)
    np.testing.assert_allclose(rotated[..., 0], first, rtol=1e-5)
    np.testing.assert_allclose(rotated[..., 1], second, rtol=1e-5)


def test_formats_of_as_many_bits_are_compared_and_the_fastest_ones() -> None:
    measured = {
        "BF16": Measured({1: [10.0, 12.0, 11.0], 8: [60.0]}, {1: [40.0], 8: [90.0]}, {1: [11.0], 8: [80.0]}, [100.0]),
        "Q4_0": Measured({1: [30.0], 8: [80.0]}, {1: [66.0], 8: [88.0]}, {1: [33.0], 8: [72.0]}),
    }
    figures = summed_up(measured)
    assert figures["stream_over_llama"] == {"1": 0.909, "8": 0.75}
    assert figures["stream_over_llama_by_format"]["BF16"] == {"1": 1.0, "8": 0.75}
    assert figures["speculate_over_llama_best"] == {"1": 2.0, "8": 1.125}
    assert figures["stream_tokens_per_s"]["BF16"]["1"] == 11.0
    assert figures["llama_prefill_tokens_per_s"] == {"BF16": 100.0}


@pytest.mark.parametrize("missing", ["gguf", "llama_cpp"])
def test_without_llama_cpp_it_says_how_to_get_it(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == missing else object())
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(SettingsError, match="pip install llama-cpp-python gguf"):
        find_peer()
