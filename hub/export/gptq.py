"""GPTQ: the numbers of a weight, chosen one column after the other so that what a layer gives out changes least.

Frantar et al., "GPTQ: Accurate Post-Training Quantization for Generative Pre-trained Transformers" (2023): what rounding a column
adds to the outputs is taken off by the columns behind it, as the inputs that were seen correlate. Scales and offsets of a block
are those of least error, weighted by the inputs, among some shrunken ranges.
"""

from __future__ import annotations

import torch

from hub.export.rounded import (
    PLAIN,
    Levels,
    Rounded,
    offset_factors,
    offset_levels,
    scale_factors,
    scale_levels,
)

_DAMPING = 0.01  # of the mean of the inputs' squares, added to each: directions that were hardly seen stay as they are
_SHRUNK = tuple(1 - step / 40 for step in range(17))  # shares of a block's range that are tried
_AT_ONCE = 128  # columns after which the rest is corrected, a multiple of every block
_REFITTED = 2  # times that a block's offset is fitted to its numbers, and these to it


def round_weight(weight: torch.Tensor, bits: int, block: int, squares: torch.Tensor | None = None) -> Rounded:
    """Round `weight`, float32 [out, in], in blocks of `block` numbers, which must divide its rows.

    `squares` [in, in] is the sum of x·xᵀ over the inputs x that were seen; without it every number is rounded to the nearest.
    """
    weight = weight.clone()
    width = weight.shape[1]
    if squares is None:
        importance, spread = torch.ones(width), None
    else:
        importance, spread = squares.diagonal().clamp_min(torch.finfo(torch.float32).tiny), _spread(squares)
    grid = _Grid(weight, bits, block)
    numbers = torch.empty(weight.shape, dtype=torch.uint8)
    for start in range(0, width, _AT_ONCE):
        end = min(width, start + _AT_ONCE)
        errors = torch.zeros(len(weight), end - start)
        for column in range(start, end):
            if column % block == 0:
                part = slice(column, column + block)
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
    """The levels of a weight's blocks, found one block of columns after the other."""

    def __init__(self, weight: torch.Tensor, bits: int, block: int) -> None:
        """The rows' factors come from the ranges of the weight as it is."""
        self._most, self._middle, self._bits = 2**bits - 1, 2.0 ** (bits - 1), bits
        low, high = self._range(weight.view(len(weight), -1, block))
        scales = (high - low) / self._most
        self._scale_factors = scale_factors(scales.amax(1))
        self._offset_factors = offset_factors((low + self._middle * scales).abs().amax(1))
        self._scales: list[torch.Tensor] = []
        self._offsets: list[torch.Tensor] = []

    def fit(self, part: torch.Tensor, importance: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Scales and offsets [out] for the next block [out, size], as they will be stored."""
        low, high = self._range(part)
        best = torch.full((len(part),), torch.inf)
        kept = (torch.ones(len(part)), torch.zeros(len(part)))
        for share in _SHRUNK:
            tried = self._tried(part, importance, low, high, share)
            scale, offset = (levels * factors for levels, factors in zip(tried, self._factors(), strict=True))
            numbers = self.nearest(part, scale[:, None], offset[:, None])
            wrong = part - self.stands_for(numbers, scale[:, None], offset[:, None])
            error = (wrong.square() * importance).sum(1)
            better = error < best
            best = torch.where(better, error, best)
            kept = (torch.where(better, tried[0], kept[0]), torch.where(better, tried[1], kept[1]))
        self._scales.append(kept[0])
        self._offsets.append(kept[1])
        scale, offset = (levels * factors for levels, factors in zip(kept, self._factors(), strict=True))
        return scale, offset

    def nearest(self, weight: torch.Tensor, scale: torch.Tensor, offset: torch.Tensor) -> torch.Tensor:
        """The numbers that stand for what is nearest, float32."""
        return (((weight - offset) / scale).round() + self._middle).clamp(0, self._most)

    def stands_for(self, numbers: torch.Tensor, scale: torch.Tensor, offset: torch.Tensor) -> torch.Tensor:
        """What numbers stand for."""
        return (numbers - self._middle) * scale + offset

    def rounded(self, numbers: torch.Tensor) -> Rounded:
        """The weight, once every block was fitted."""
        scales = Levels(torch.stack(self._scales, 1).to(torch.uint8), self._scale_factors)
        offsets = Levels(torch.stack(self._offsets, 1).to(torch.int8), self._offset_factors)
        return Rounded(numbers, scales, None if self._bits >= PLAIN else offsets, self._bits)

    def _tried(
        self, part: torch.Tensor, importance: torch.Tensor, low: torch.Tensor, high: torch.Tensor, share: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Levels [out] of a scale for that share of the range, and of the offset that suits it."""
        scale_factor, offset_factor = self._factors()
        scales = scale_levels((high - low) * share / self._most, scale_factor)
        if self._bits >= PLAIN:
            return scales, torch.zeros_like(scales)
        scale = scales * scale_factor
        offset = (low + high) / 2 + scale / 2
        for _ in range(_REFITTED):
            numbers = self.nearest(part, scale[:, None], offset[:, None])
            apart = part - (numbers - self._middle) * scale[:, None]
            offset = (apart * importance).sum(1) / importance.sum()
        return scales, offset_levels(offset, offset_factor)

    def _factors(self) -> tuple[torch.Tensor, torch.Tensor]:
        return self._scale_factors[:, 0].float(), self._offset_factors[:, 0].float()

    def _range(self, part: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The least and the largest of each block."""
        low, high = part.amin(-1), part.amax(-1)
        if self._bits < PLAIN:
            return low, high
        high = torch.maximum(-low, high)
        return -high, high
