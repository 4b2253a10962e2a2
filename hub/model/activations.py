"""Activation functions that give a number the same bits wherever it stands in a tensor.

torch cuts a tensor into a share for each thread, and computes what is left at the end of a share by other code than the rest:
silu, gelu and sigmoid may differ there in the last bit. So a share ends where that code has nothing to do.
"""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import nn
from transformers.activations import ACT2CLS

_WIDTH = 64  # numbers that torch's code takes at once at most, 32 of two bytes twice
_GRAIN = 32768  # numbers for which torch takes another thread, for most functions
_GELU_GRAIN = 16384  # numbers above which it takes all of them, for gelu
_KINDS = cast(
    tuple[type[nn.Module], ...], tuple(kind[0] if isinstance(kind, tuple) else kind for kind in ACT2CLS.values())
)


class EvenActivation(nn.Module):
    """An elementwise function on a CPU."""

    def __init__(self, function: nn.Module) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply it; the result has the shape of `x`."""
        count = x.numel()
        if missing := even_size(count, torch.get_num_threads()) - count:
            flat = nn.functional.pad(x.reshape(-1), (0, missing))
            y: torch.Tensor = self.function(flat)[:count].view(x.shape)
        else:
            y = self.function(x.contiguous())
        return y


def even_size(count: int, threads: int) -> int:
    """The least size from `count` on whose shares, one for each thread that torch uses for it, all end evenly."""
    size = count
    while True:
        used = max(1, min(threads, -(-size // _GRAIN)))
        step = math.lcm(used, threads if size > _GELU_GRAIN else 1) * _WIDTH
        if not size % step:
            return size
        size += -size % step


def replace_activations(model: nn.Module) -> None:
    """Make every activation function in the model such a one."""
    for module in list(model.modules()):
        for name, child in module.named_children():
            if isinstance(child, _KINDS) and not isinstance(module, EvenActivation):
                setattr(module, name, EvenActivation(child))
