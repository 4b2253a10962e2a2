"""A weight in few bits that learns: forwards see what its numbers stand for, gradients reach the weight behind them and its scales.

Rounding has no slope, so gradients pass it as if it were not there (Bengio et al., 2013), and scales learn as in LSQ (Esser et al., 2020).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn
from torch.nn.utils import parametrize

from hub.export.rounded import BLOCK, OffsetForm, Rounded, blocks_of, units_by_block


class RoundedWeight(nn.Module):
    """Stands between a weight [out, in] and who multiplies by it; begins with the scales and offsets of `rounded`."""

    def __init__(self, rounded: Rounded) -> None:
        """Scales learn as factors of what they begin with, and offsets in scales, so that all of them learn at one rate."""
        super().__init__()
        self._bits, self._middle = rounded.bits, 1 << (rounded.bits - 1)
        blocks = blocks_of(rounded.numbers.shape[1])
        scales = rounded.scales
        self.first_scales: torch.Tensor
        self.first_offsets: torch.Tensor
        self.levels_of_units: torch.Tensor
        self.factors: torch.Tensor
        self._form = OffsetForm(rounded.bits)
        self.register_buffer("factors", rounded.factors.float())
        self.register_buffer("first_scales", scales[:, :blocks].clone())
        self.register_buffer("levels_of_units", rounded.levels[:, blocks:].float())
        self.growth = nn.Parameter(torch.zeros_like(self.first_scales))
        self._has_offsets = rounded.offsets is not None
        if rounded.offsets is not None:
            self.register_buffer("first_offsets", (rounded.offsets.float() - self._form.centre) * self._units())
            self.shifts = nn.Parameter(torch.zeros_like(self.first_scales))

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        """What the numbers of `weight` stand for."""
        numbers, scales, offsets = self._parts(weight)
        return ((numbers - self._middle) * scales + offsets).view_as(weight)

    @torch.no_grad()
    def rounded(self, weight: torch.Tensor) -> Rounded:
        """The numbers of `weight`, as they are written."""
        numbers, _, _ = self._parts(weight)
        return Rounded(
            numbers=numbers.view_as(weight).to(torch.uint8),
            offsets=self._offset_numbers().to(torch.uint8) if self._has_offsets else None,
            levels=torch.cat([self._levels(), self.levels_of_units], 1).to(torch.uint8),
            factors=self.factors.to(torch.bfloat16),
            bits=self._bits,
        )

    def _parts(self, weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | float]:
        scales = (self._levels() * self.factors)[..., None]
        offsets = (
            ((self._offset_numbers() - self._form.centre) * self._units())[..., None] if self._has_offsets else 0.0
        )
        split = weight.view(*self.first_scales.shape, BLOCK)
        numbers = _passing(torch.round, (split - offsets) / scales) + self._middle
        return numbers.clamp(0, 2 * self._middle - 1), scales, offsets

    def _levels(self) -> torch.Tensor:
        return _passing(
            lambda levels: levels.round().clamp(1, 255), self.first_scales * self.growth.exp() / self.factors
        )

    def _offset_numbers(self) -> torch.Tensor:
        offsets = self.first_offsets + self.shifts * self.first_scales
        return _passing(lambda numbers: numbers.round().clamp(0, 255), offsets / self._units() + self._form.centre)

    def _units(self) -> torch.Tensor:
        """The units of the offsets, [out, blocks]."""
        return units_by_block(self.levels_of_units * self.factors, self._form, self.first_scales.shape[1])


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


def _passing(rounding: Callable[[torch.Tensor], torch.Tensor], exact: torch.Tensor) -> torch.Tensor:
    """`exact`, rounded; gradients pass."""
    return exact + (rounding(exact) - exact).detach()
