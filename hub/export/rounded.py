"""A weight in few bits, as a draft's file has it: numbers in blocks of 32, each with a scale and an offset.

    w ≈ (number − 2^(bits − 1)) · scale + (offset − centre) · unit

Offsets are whole numbers of 8 bits, and `4 · bits` of them in a row share a unit. Head and embedding have none. Scales and units take 8 bits each, as multiples of a factor for the
row. All together that is some 4.55 bits a weight where numbers have 4, as many as llama.cpp's Q4_K has. Whole zero points, which ONNX
Runtime has, would be coarser: a grid of 4 bits that begins anywhere can be found again with offsets.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

MOST_BITS = 8  # of a number; with them the rounding of activations counts, and not that of weights
BLOCK = 32  # numbers along a row that share a scale; ONNX Runtime rounds activations in the same blocks
_MOST_SCALE = 255  # the largest whole number of 8 bits


class QuantizeError(Exception):
    """A weight cannot be quantized; the text says why."""


@dataclass(frozen=True)
class OffsetForm:
    """How offsets are written beside numbers of so many bits.

    An offset's byte is as many numbers as have room in it. The first is multiplied by the smallest share of a block's sum, the last by all of it:
    that makes `byte − centre` multiples of the unit.
    """

    bits: int

    @property
    def shares(self) -> tuple[float, ...]:
        """What the sum of a block's inputs is multiplied by for each number in an offset's byte."""
        return tuple(2.0 ** (-self.bits * place) for place in reversed(range(8 // self.bits)))

    @property
    def fine(self) -> int:
        """Units in a scale of the block of offsets."""
        return 1 << (8 - self.bits)

    @property
    def centre(self) -> float:
        """The offset that stands for 0; a whole number where bits divide 8."""
        return (1 << (self.bits - 1)) * 255 / ((1 << self.bits) - 1)

    @property
    def sharing(self) -> int:
        """How many offsets in a row share a unit: as many as are a block."""
        return BLOCK * self.bits // 8

    def units_of(self, blocks: int) -> int:
        """How many units the offsets of so many blocks have."""
        return -(-blocks // self.sharing)


def blocks_of(width: int) -> int:
    """How many blocks a row of that many numbers has. Raises QuantizeError where they don't divide it."""
    if width % BLOCK:
        raise QuantizeError(f"a weight has rows of {width}: fewer bits need a multiple of {BLOCK}")
    return width // BLOCK


@dataclass(frozen=True)
class Rounded:
    """A weight [out, in]."""

    numbers: torch.Tensor  # uint8 [out, in]
    offsets: torch.Tensor | None  # uint8 [out, blocks]; none in head and embedding
    levels: torch.Tensor  # uint8 [out, blocks and units]: scales as multiples of
    factors: torch.Tensor  # bfloat16 [out, 1]
    bits: int

    @property
    def scales(self) -> torch.Tensor:
        """The scales, float32 [out, blocks and units], as ONNX Runtime computes them; a unit is that of `OffsetForm.fine`."""
        return self.levels.float() * self.factors.float()

    def weight(self) -> torch.Tensor:
        """The weight that it stands for, float32 [out, in]."""
        out, width = self.numbers.shape
        scales, blocks = self.scales, width // BLOCK
        split = (self.numbers.view(out, blocks, BLOCK).float() - (1 << (self.bits - 1))) * scales[:, :blocks, None]
        if self.offsets is not None:
            form = OffsetForm(self.bits)
            units = units_by_block(scales[:, blocks:], form, blocks)
            split += ((self.offsets.float() - form.centre) * units)[..., None]
        return split.view(out, width)


def units_by_block(scales: torch.Tensor, form: OffsetForm, blocks: int) -> torch.Tensor:
    """The units [out, blocks] of offsets, by the scales [out, units] of their blocks."""
    return (scales / form.fine).repeat_interleave(form.sharing, 1)[:, :blocks]


def stored_bits(width: int, bits: int, *, offsets: bool) -> int:
    """Bits that a row of that many numbers takes in a draft's file, with what belongs to it. Raises QuantizeError."""
    blocks = blocks_of(width)
    of_offsets = 8 * (blocks + OffsetForm(bits).units_of(blocks)) if offsets else 0
    return bits * width + 8 * blocks + of_offsets + 16


def factors_for(largest: torch.Tensor) -> torch.Tensor:
    """Factors bfloat16 [out, 1] with which scales [out] of that size still have a level."""
    tiny = (
        torch.finfo(torch.float32).tiny * 2**20
    )  # a row of zeros; its products with levels and inputs are no subnormals
    return (largest.clamp_min(tiny) * (1 + 2**-8) / _MOST_SCALE).to(torch.bfloat16)[
        :, None
    ]  # rounded down it would leave the largest out


def levels_of(scales: torch.Tensor, factors: torch.Tensor) -> torch.Tensor:
    """The nearest levels, float32 of the shape of `scales`; none is 0."""
    return (scales / factors.float()).round().clamp(1, _MOST_SCALE)
