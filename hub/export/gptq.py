"""GPTQ: the numbers of a weight, chosen one column after the other so that what a layer gives out changes least.

Frantar et al., "GPTQ: Accurate Post-Training Quantization for Generative Pre-trained Transformers" (2023): what rounding a column
adds to the outputs is taken off by the columns behind it, as the inputs that were seen correlate. Scales and offsets of a block
are those of least error, weighted by the inputs, among some shrunken ranges.
"""

from __future__ import annotations

import torch
from torch import nn

from hub.export.rounded import (
    BLOCK,
    OffsetForm,
    Rounded,
    blocks_of,
    factors_for,
    levels_of,
    units_by_block,
)

_DAMPING = 0.01  # of the mean of the inputs' squares, added to each: directions that were hardly seen stay as they are
_SHRUNK = tuple(1 - step / 40 for step in range(17))  # shares of a block's range that are tried
_AT_ONCE = 128  # columns after which the rest is corrected, a multiple of every block
_ROOM = 1.1  # times the largest offset of a weight as it is: while it is rounded its blocks change
_REFITTED = 2  # times that a block's offset is fitted to its numbers, and these to it


def round_weight(
    weight: torch.Tensor, bits: int, squares: torch.Tensor | None = None, *, offsets: bool = True
) -> Rounded:
    """Round `weight`, float32 [out, in]. Raises QuantizeError for rows that have no whole blocks.

    `squares` [in, in] is the sum of x·xᵀ over the inputs x that were seen; without it every number is rounded to the nearest.
    Without `offsets` blocks have their levels around zero.
    """
    weight = weight.clone()
    width = weight.shape[1]
    if squares is None:
        importance, spread = torch.ones(width), None
    else:
        importance, spread = squares.diagonal().clamp_min(torch.finfo(torch.float32).tiny), _spread(squares)
    grid = _Grid(weight, bits, offsets=offsets)
    numbers = torch.empty(weight.shape, dtype=torch.uint8)
    for start in range(0, width, _AT_ONCE):
        end = min(width, start + _AT_ONCE)
        errors = torch.zeros(len(weight), end - start)
        for column in range(start, end):
            if column % BLOCK == 0:
                part = slice(column, column + BLOCK)
                scale, offset = grid.fit(weight[:, part], importance[part])
            number = grid.nearest(weight[:, column], scale, offset)
            numbers[:, column] = number.to(torch.uint8)
            if spread is not None:
                error = (weight[:, column] - grid.stands_for(number, scale, offset)) / spread[column, column]
                weight[:, column:end] -= error[:, None] * spread[column, column:end]
                errors[:, column - start] = error
        if spread is not None:
            weight[:, end:] -= errors @ spread[start:end, end:]
    return grid.rounded(numbers)


def _spread(squares: torch.Tensor) -> torch.Tensor:
    """The upper Cholesky factor of the inverse of the damped `squares`: how an error in one column is made good by those behind."""
    damped = squares.double().clone()
    diagonal = damped.diagonal()
    diagonal += _DAMPING * float(diagonal.mean()) + torch.finfo(torch.float32).tiny
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(damped))
    upper: torch.Tensor = torch.linalg.cholesky(inverse, upper=True)
    return upper.float()


class _Grid:
    """The scales and offsets of a weight's blocks, found one block of columns after the other."""

    def __init__(self, weight: torch.Tensor, bits: int, *, offsets: bool) -> None:
        """The rows' factors and the scales of offsets come from the weight as it is."""
        self._most, self._middle, self._bits, self._has_offsets = 2**bits - 1, 2.0 ** (bits - 1), bits, offsets
        low, high = self._range(weight.view(len(weight), blocks_of(weight.shape[1]), BLOCK))
        scales = (high - low) / self._most
        self._form = OffsetForm(bits)
        units = self._units_for(low + self._middle * scales) if offsets else scales[:, :0]
        self._factors = factors_for(torch.cat([scales, units], 1).amax(1))
        self._levels: list[torch.Tensor] = []
        self._offsets: list[torch.Tensor] = []
        self._levels_of_units = levels_of(units, self._factors)
        self._units = units_by_block(self._levels_of_units * self._factors.float(), self._form, scales.shape[1])

    def fit(self, part: torch.Tensor, importance: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Scales and offsets [out] for the next block [out, BLOCK], as they will be stored."""
        low, high = self._range(part)
        best = torch.full((len(part),), torch.inf)
        kept = (torch.ones(len(part)), torch.zeros(len(part)))
        for share in _SHRUNK:
            levels = levels_of((high - low) * share / self._most, self._factors[:, 0])
            number = self._offset_for(part, importance, (low + high) / 2, levels)
            scale, offset = (each[:, None] for each in self._values(levels, number))
            stood = self.stands_for(self.nearest(part, scale, offset), scale, offset)
            error = ((part - stood).square() * importance).sum(1)
            better = error < best
            best = torch.where(better, error, best)
            kept = (torch.where(better, levels, kept[0]), torch.where(better, number, kept[1]))
        values = self._values(*kept)
        self._levels.append(kept[0])
        self._offsets.append(kept[1])
        return values

    def nearest(self, weight: torch.Tensor, scale: torch.Tensor, offset: torch.Tensor) -> torch.Tensor:
        """The numbers that stand for what is nearest, float32."""
        return (((weight - offset) / scale).round() + self._middle).clamp(0, self._most)

    def stands_for(self, numbers: torch.Tensor, scale: torch.Tensor, offset: torch.Tensor) -> torch.Tensor:
        """What numbers stand for."""
        return (numbers - self._middle) * scale + offset

    def rounded(self, numbers: torch.Tensor) -> Rounded:
        """The weight, once every block was fitted."""
        levels = torch.cat([torch.stack(self._levels, 1), self._levels_of_units], 1).to(torch.uint8)
        offsets = torch.stack(self._offsets, 1).to(torch.uint8) if self._has_offsets else None
        return Rounded(numbers, offsets, levels, self._factors, self._bits)

    def _offset_for(
        self, part: torch.Tensor, importance: torch.Tensor, middle: torch.Tensor, levels: torch.Tensor
    ) -> torch.Tensor:
        """The number [out] of the offset that suits scales of those levels best."""
        if not self._has_offsets:
            return torch.zeros_like(levels)
        scale = levels * self._factors[:, 0].float()
        unit = self._units[:, len(self._offsets)]
        offset = middle + scale / 2
        for _ in range(_REFITTED):
            numbers = self.nearest(part, scale[:, None], offset[:, None])
            apart = part - (numbers - self._middle) * scale[:, None]
            offset = (apart * importance).sum(1) / importance.sum()
        return (offset / unit + self._form.centre).round().clamp(0, 255)

    def _values(self, levels: torch.Tensor, number: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The next block's scale and offset [out] for those levels and that number of the offset."""
        scale = levels * self._factors[:, 0].float()
        if not self._has_offsets:
            return scale, torch.zeros_like(scale)
        return scale, (number - self._form.centre) * self._units[:, len(self._offsets)]

    def _units_for(self, offsets: torch.Tensor) -> torch.Tensor:
        """The scales [out, units] with whose units offsets [out, blocks] such as these can be written."""
        form = self._form
        padded = nn.functional.pad(offsets, (0, -offsets.shape[1] % form.sharing)).view(len(offsets), -1, form.sharing)
        largest = torch.maximum(padded.amax(-1) / (255 - form.centre), -padded.amin(-1) / form.centre)
        return _ROOM * largest * form.fine

    def _range(self, part: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The least and the largest of each block."""
        low, high = part.amin(-1), part.amax(-1)
        if self._has_offsets:
            return low, high
        high = torch.maximum(-low, high)
        return -high, high
