"""A weight in few bits, as a draft's file has it: numbers in blocks, and for each block a scale and, below 8 bits, an offset.

    w ≈ (number − 2^(bits − 1)) · scale + offset

Scales and offsets take 8 bits each, as whole numbers with a factor for each row: 4.5 bits a weight in blocks of 32, as many as
llama.cpp's Q4_K has. A grid that begins anywhere can be found again with them, which whole zero points can't do.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

PLAIN = 8  # bits from which on a block has no offset: it has enough levels on both sides of zero
_MOST_SCALE, _MOST_OFFSET = 255, 127  # the largest whole numbers of 8 bits


class QuantizeError(Exception):
    """A weight cannot be quantized; the text says why."""


def block_size(width: int, bits: int) -> int:
    """How many numbers of a row of that many share a scale. Raises QuantizeError."""
    sizes = (64, 32) if bits >= PLAIN else (32,)
    for size in sizes:
        if width % size == 0:
            return size
    raise QuantizeError(f"a weight has rows of {width}: fewer bits need a multiple of {sizes[-1]}")


@dataclass(frozen=True)
class Levels:
    """Numbers for the blocks of a weight, in 8 bits: `whole` [out, blocks], times the `factors` [out, 1] of their rows."""

    whole: torch.Tensor  # uint8 or int8
    factors: torch.Tensor  # bfloat16

    def values(self) -> torch.Tensor:
        """The numbers, float32 [out, blocks], as ONNX Runtime computes them."""
        return self.whole.float() * self.factors.float()


@dataclass(frozen=True)
class Rounded:
    """A weight [out, in] in blocks of `in / blocks` numbers."""

    numbers: torch.Tensor  # uint8 [out, in]
    scales: Levels  # uint8
    offsets: Levels | None  # int8; none with PLAIN bits
    bits: int

    @property
    def block(self) -> int:
        """How many numbers of a row share a scale."""
        return self.numbers.shape[1] // self.scales.whole.shape[1]

    @property
    def bits_of_all(self) -> int:
        """Bits that it takes in a file, with scales and offsets."""
        tables = [self.scales] if self.offsets is None else [self.scales, self.offsets]
        return self.bits * self.numbers.numel() + sum(8 * t.whole.numel() + 16 * t.factors.numel() for t in tables)

    def weight(self) -> torch.Tensor:
        """The weight that it stands for, float32 [out, in]."""
        split = self.numbers.view(*self.scales.whole.shape, self.block).float() - (1 << self.bits - 1)
        scaled = split * self.scales.values()[..., None]
        if self.offsets is not None:
            scaled += self.offsets.values()[..., None]
        return scaled.view(self.numbers.shape)


def scale_factors(largest: torch.Tensor) -> torch.Tensor:
    """Factors bfloat16 [out, 1] with which scales [out] of that size still have a level."""
    return _factors(largest, _MOST_SCALE)


def offset_factors(largest: torch.Tensor) -> torch.Tensor:
    """The same for offsets [out] of that magnitude."""
    return _factors(largest, _MOST_OFFSET)


def scale_levels(scales: torch.Tensor, factors: torch.Tensor) -> torch.Tensor:
    """The nearest levels, float32 of the shape of `scales`; none is 0."""
    return (scales / factors.float()).round().clamp(1, _MOST_SCALE)


def offset_levels(offsets: torch.Tensor, factors: torch.Tensor) -> torch.Tensor:
    """The nearest levels, float32 of the shape of `offsets`."""
    return (offsets / factors.float()).round().clamp(-_MOST_OFFSET, _MOST_OFFSET)


def _factors(largest: torch.Tensor, most: int) -> torch.Tensor:
    tiny = (
        torch.finfo(torch.float32).tiny * 2**20
    )  # a row of zeros; its products with levels and inputs are no subnormals
    return (largest.clamp_min(tiny) * (1 + 2**-8) / most).to(torch.bfloat16)[
        :, None
    ]  # rounded down it would leave the largest out
