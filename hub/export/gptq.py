"""GPTQ: the numbers of a weight, chosen one column after the other so that what a layer gives out changes least.

Frantar et al., "GPTQ: Accurate Post-Training Quantization for Generative Pre-trained Transformers" (2023): what rounding a column
adds to the outputs is taken off by the columns behind it, as the inputs that were seen correlate. Scales and zero points of a block
are those of least error, weighted by the inputs, among some shrunken ranges.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

_DAMPING = 0.01  # of the mean of the inputs' squares, added to each: directions that were hardly seen stay as they are
_SHRUNK = tuple(1 - step / 40 for step in range(17))  # shares of a block's range that are tried
_SYMMETRIC = 8  # bits that have a zero in the middle, which needs no storing
_AT_ONCE = 128  # columns after which the rest is corrected


@dataclass(frozen=True)
class Rounded:
    """A weight [out, in] as w ≈ (number − zero) · scale, in blocks of `in / scales.shape[1]` numbers."""

    numbers: torch.Tensor  # uint8 [out, in]
    scales: torch.Tensor  # float32 [out, blocks]
    zeros: torch.Tensor  # uint8 [out, blocks]
    bits: int

    @property
    def block(self) -> int:
        """How many numbers of a row share a scale."""
        return self.numbers.shape[1] // self.scales.shape[1]

    def weight(self) -> torch.Tensor:
        """The weight that it stands for, float32 [out, in], as ONNX Runtime computes it."""
        split = self.numbers.view(*self.scales.shape, self.block).float() - self.zeros[..., None].float()
        return (split * self.scales[..., None]).view(self.numbers.shape)


def round_weight(weight: torch.Tensor, bits: int, block: int, squares: torch.Tensor | None = None) -> Rounded:
    """Round `weight`, float32 [out, in], in blocks of `block` numbers, which must divide its rows.

    `squares` [in, in] is the sum of x·xᵀ over the inputs x that were seen; without it every number is rounded to the nearest.
    """
    weight = weight.clone()
    width = weight.shape[1]
    if squares is None:
        importance, spread = torch.ones(width), None
    else:
        importance, spread = squares.diagonal().clamp_min(0), _spread(squares)
    scales, zeros, numbers = [], [], torch.empty(weight.shape, dtype=torch.uint8)
    for start in range(0, width, max(block, _AT_ONCE)):
        end = min(width, start + max(_AT_ONCE, block))
        errors = torch.zeros(len(weight), end - start)
        for column in range(start, end):
            if column % block == 0:
                part = slice(column, column + block)
                scale, zero = _grid(weight[:, part], bits, importance[part])
                scales.append(scale)
                zeros.append(zero)
            number = (torch.round(weight[:, column] / scale) + zero).clamp(0, 2**bits - 1)
            numbers[:, column] = number.to(torch.uint8)
            if spread is not None:
                error = (weight[:, column] - (number - zero) * scale) / spread[column, column]
                weight[:, column:end] -= error[:, None] * spread[column, column:end]
                errors[:, column - start] = error
        if spread is not None:
            weight[:, end:] -= errors @ spread[start:end, end:]
    return Rounded(numbers, torch.stack(scales, 1), torch.stack(zeros, 1).to(torch.uint8), bits)


def _spread(squares: torch.Tensor) -> torch.Tensor:
    """The upper Cholesky factor of the inverse of the damped `squares`: how an error in one column is made good by those behind."""
    damped = squares.double().clone()
    diagonal = damped.diagonal()
    diagonal += _DAMPING * float(diagonal.mean()) + torch.finfo(torch.float32).tiny
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(damped))
    upper: torch.Tensor = torch.linalg.cholesky(inverse, upper=True)
    return upper.float()


def _grid(part: torch.Tensor, bits: int, importance: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Scales and zero points [out] for a block [out, size], the zero points whole numbers of float32."""
    most = 2**bits - 1
    low, high = part.amin(1).clamp_max(0), part.amax(1).clamp_min(0)
    if bits == _SYMMETRIC:
        high = torch.maximum(-low, high)
        low = -high
    best = torch.full((len(part),), torch.inf)
    scales, zeros = torch.ones(len(part)), torch.zeros(len(part))
    for share in _SHRUNK:
        scale = ((high - low) * share / most).clamp_min(torch.finfo(torch.float32).tiny)
        zero = (
            torch.full_like(low, 2.0 ** (bits - 1))
            if bits == _SYMMETRIC
            else torch.round(-low * share / scale).clamp(0, most)
        )
        numbers = (torch.round(part / scale[:, None]) + zero[:, None]).clamp(0, most)
        error = ((part - (numbers - zero[:, None]) * scale[:, None]).square() * importance).sum(1)
        better = error < best
        best = torch.where(better, error, best)
        scales, zeros = torch.where(better, scale, scales), torch.where(better, zero, zeros)
    return scales, zeros
