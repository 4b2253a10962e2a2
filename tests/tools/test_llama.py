"""What a checkpoint becomes for llama.cpp."""

from __future__ import annotations

import numpy as np

from tools.bench.llama import _interleaved


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
