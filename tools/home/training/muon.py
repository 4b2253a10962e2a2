"""Muon (Jordan, 2024) with its Newton-Schulz iteration in float32, matrices of one shape together.

torch.optim.Muon iterates in bfloat16, one matrix after the other: on a CPU without products of bfloat16 that takes three times as long as the
forward and the backward together. The update is the same otherwise: momentum after Nesterov, decoupled decay, a rate that fits AdamW's.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import torch

_COEFFICIENTS = (3.4445, -4.775, 2.0315)
_STEPS = 5
_MOMENTUM = 0.95
_RMS = 0.2  # of an update of AdamW, for whose rates `lr` is


class Muon(torch.optim.Optimizer):
    """For matrices alone."""

    def __init__(self, matrices: Iterable[torch.Tensor], lr: float, weight_decay: float) -> None:
        super().__init__(list(matrices), {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, _closure: Any = None) -> None:  # type: ignore[override]
        """Descend along the gradients; matrices without one rest."""
        for group in self.param_groups:
            shapes: dict[torch.Size, list[torch.Tensor]] = defaultdict(list)
            for matrix in group["params"]:
                if matrix.grad is not None:
                    shapes[matrix.shape].append(matrix)
            for (rows, columns), matrices in shapes.items():
                rate = group["lr"] * _RMS * math.sqrt(max(rows, columns))
                updates = orthogonal(torch.stack([self._momentum(matrix) for matrix in matrices]))
                for matrix, update in zip(matrices, updates, strict=True):
                    matrix.mul_(1 - group["lr"] * group["weight_decay"]).sub_(update, alpha=rate)

    def _momentum(self, matrix: torch.Tensor) -> torch.Tensor:
        state, gradient = self.state[matrix], matrix.grad
        assert gradient is not None
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(gradient)
        state["momentum"].lerp_(gradient, 1 - _MOMENTUM)
        return gradient.lerp(state["momentum"], _MOMENTUM)


def orthogonal(matrices: torch.Tensor) -> torch.Tensor:
    """Of each of `matrices` [count, rows, columns] one with about the same singular vectors, and singular values near 1."""
    tall = matrices.shape[1] > matrices.shape[2]
    found = matrices.mT if tall else matrices
    found = found / found.norm(dim=(1, 2), keepdim=True).clamp_min(1e-7)
    first, second, third = _COEFFICIENTS
    for _ in range(_STEPS):
        gram = found @ found.mT
        found = torch.baddbmm(found, torch.baddbmm(gram, gram, gram, beta=second, alpha=third), found, beta=first)
    return found.mT if tall else found
