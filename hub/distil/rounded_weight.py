"""A weight in few bits that learns: forwards see what its numbers stand for, gradients reach the weight behind them and its scales.

Rounding has no slope, so gradients pass it as if it were not there (Bengio et al., 2013), and scales learn as in LSQ (Esser et al., 2020).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.nn.utils import parametrize

from hub.export.gptq import Rounded


class RoundedWeight(nn.Module):
    """Stands between a weight [out, in] and who multiplies by it; begins with the scales and zero points of `rounded`."""

    def __init__(self, rounded: Rounded) -> None:
        """Scales learn as factors of what they begin with, so that all of them learn at one rate."""
        super().__init__()
        self._bits, self._block = rounded.bits, rounded.block
        self.first_scales: torch.Tensor
        self.register_buffer("first_scales", rounded.scales.clone())
        self.growth = nn.Parameter(torch.zeros_like(rounded.scales))
        self.zeros = nn.Parameter(rounded.zeros.float())

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        """What the numbers of `weight` stand for."""
        numbers, scales, zeros = self._parts(weight)
        return ((numbers - zeros) * scales).view_as(weight)

    @torch.no_grad()
    def rounded(self, weight: torch.Tensor) -> Rounded:
        """The numbers of `weight`, as they are written."""
        numbers, scales, zeros = self._parts(weight)
        whole = numbers.view_as(weight).to(torch.uint8)
        return Rounded(whole, scales[..., 0].clone(), zeros[..., 0].to(torch.uint8), self._bits)

    def _parts(self, weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        most = 2**self._bits - 1
        scales = (self.first_scales * self.growth.exp())[..., None]
        zeros = _whole(self.zeros.clamp(0, most))[..., None]
        split = weight.view(*self.first_scales.shape, self._block)
        return (_whole(split / scales) + zeros).clamp(0, most), scales, zeros


def learn_rounded(model: Any, weights: Mapping[str, Rounded]) -> None:
    """Have the weights of linear layers learn as rounded ones; `weights` are those to begin with, by the layers' names."""
    for name, rounded in weights.items():
        parametrize.register_parametrization(model.get_submodule(name), "weight", RoundedWeight(rounded))


def settle_rounded(model: Any) -> dict[str, Rounded]:
    """Have the weights be what their numbers stand for, for good; the numbers, by the layers' names."""
    found: dict[str, Rounded] = {}
    for name, module in list(model.named_modules()):
        if parametrize.is_parametrized(module):
            kept: Any = module
            found[name] = kept.parametrizations.weight[0].rounded(kept.parametrizations.weight.original)
            parametrize.remove_parametrizations(module, "weight", leave_parametrized=True)
            kept.weight.data.copy_(found[name].weight())
    return found


def _whole(numbers: torch.Tensor) -> torch.Tensor:
    """Rounded; gradients pass."""
    return numbers + (torch.round(numbers) - numbers).detach()
