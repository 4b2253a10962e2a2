"""A weight in few bits that learns: forwards see what its numbers stand for, gradients reach the weight behind them and its scales.

Rounding has no slope, so gradients pass it as if it were not there (Bengio et al., 2013), and scales learn as in LSQ (Esser et al., 2020).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn
from torch.nn.utils import parametrize

from hub.export.rounded import Levels, Rounded, offset_levels, scale_levels


class RoundedWeight(nn.Module):
    """Stands between a weight [out, in] and who multiplies by it; begins with the scales and offsets of `rounded`."""

    def __init__(self, rounded: Rounded) -> None:
        """Scales learn as factors of what they begin with, and offsets in scales, so that all of them learn at one rate."""
        super().__init__()
        self._bits, self._block = rounded.bits, rounded.block
        self.first_scales: torch.Tensor
        self.first_offsets: torch.Tensor
        self.factors: torch.Tensor
        self.offset_factors: torch.Tensor
        self.register_buffer("first_scales", rounded.scales.values())
        self.register_buffer("factors", rounded.scales.factors.float())
        self.growth = nn.Parameter(torch.zeros_like(self.first_scales))
        self._has_offsets = rounded.offsets is not None
        if rounded.offsets is not None:
            self.register_buffer("first_offsets", rounded.offsets.values())
            self.register_buffer("offset_factors", rounded.offsets.factors.float())
            self.shifts = nn.Parameter(torch.zeros_like(self.first_offsets))

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        """What the numbers of `weight` stand for."""
        numbers, scales, offsets = self._parts(weight)
        return ((numbers - (1 << self._bits - 1)) * scales + offsets).view_as(weight)

    @torch.no_grad()
    def rounded(self, weight: torch.Tensor) -> Rounded:
        """The numbers of `weight`, as they are written."""
        numbers, _, _ = self._parts(weight)
        scales = Levels(self._scale_levels().to(torch.uint8), self.factors.to(torch.bfloat16))
        offsets = None
        if self._has_offsets:
            offsets = Levels(self._offset_levels().to(torch.int8), self.offset_factors.to(torch.bfloat16))
        return Rounded(numbers.view_as(weight).to(torch.uint8), scales, offsets, self._bits)

    def _parts(self, weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | float]:
        scales = (self._scale_levels() * self.factors)[..., None]
        offsets = (self._offset_levels() * self.offset_factors)[..., None] if self._has_offsets else 0.0
        split = weight.view(*self.first_scales.shape, self._block)
        numbers = _whole((split - offsets) / scales) + (1 << self._bits - 1)
        return numbers.clamp(0, (1 << self._bits) - 1), scales, offsets

    def _scale_levels(self) -> torch.Tensor:
        return _passing(scale_levels, self.first_scales * self.growth.exp(), self.factors)

    def _offset_levels(self) -> torch.Tensor:
        return _passing(offset_levels, self.first_offsets + self.shifts * self.first_scales, self.offset_factors)


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


def _passing(
    levels: Callable[[torch.Tensor, torch.Tensor], torch.Tensor], values: torch.Tensor, factors: torch.Tensor
) -> torch.Tensor:
    """The levels of values; gradients pass."""
    exact = values / factors
    return exact + (levels(values, factors) - exact).detach()
