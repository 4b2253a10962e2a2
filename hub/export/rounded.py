"""A weight in few bits, as a draft's file has it: numbers in blocks of 32, each with a scale and, below 8 bits, an offset.

    w ≈ (number − m) · scale + (offset − m) · scale of the offsets,    m = 2^(bits − 1)

Offsets are numbers of as many bits in blocks of their own: 32 offsets of a row share a scale. A whole zero point for each block would be three times
as coarse. Scales take 8 bits, as whole numbers with a factor for each row. All together that is some 4.5 bits a weight where numbers have 4, as
many as llama.cpp's Q4_K has.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

PLAIN = 8  # bits from which on a block has no offset: it has enough levels on both sides of zero
BLOCK = 32  # numbers along a row that share a scale; ONNX Runtime rounds activations in the same blocks
_MOST_SCALE = 255  # the largest whole number of 8 bits


class QuantizeError(Exception):
    """A weight cannot be quantized; the text says why."""


def blocks_of(width: int) -> int:
    """How many blocks a row of that many numbers has. Raises QuantizeError where they don't divide it."""
    if width % BLOCK:
        raise QuantizeError(f"a weight has rows of {width}: fewer bits need a multiple of {BLOCK}")
    return width // BLOCK


@dataclass(frozen=True)
class Rounded:
    """A weight [out, in]."""

    numbers: torch.Tensor  # uint8 [out, in]
    offsets: torch.Tensor | None  # uint8 [out, blocks]; none with PLAIN bits
    levels: torch.Tensor  # uint8 [out, blocks and those of offsets]: scales as multiples of
    factors: torch.Tensor  # bfloat16 [out, 1]
    bits: int

    @property
    def scales(self) -> torch.Tensor:
        """The scales, float32 [out, blocks and those of offsets], as ONNX Runtime computes them."""
        return self.levels.float() * self.factors.float()

    @property
    def stored(self) -> torch.Tensor:
        """Numbers and the offsets behind them, uint8 [out, in and blocks]: what the inputs and their sums over blocks are multiplied by."""
        return self.numbers if self.offsets is None else torch.cat([self.numbers, self.offsets], 1)

    @property
    def bits_of_all(self) -> int:
        """Bits that it takes in a file, with scales and offsets."""
        return len(self.numbers) * stored_bits(self.numbers.shape[1], self.bits, offsets=self.offsets is not None)

    def weight(self) -> torch.Tensor:
        """The weight that it stands for, float32 [out, in]."""
        out, width = self.numbers.shape
        middle, scales, blocks = 1 << (self.bits - 1), self.scales, width // BLOCK
        split = (self.numbers.view(out, blocks, BLOCK).float() - middle) * scales[:, :blocks, None]
        if self.offsets is not None:
            of_offsets = scales[:, blocks:].repeat_interleave(BLOCK, 1)[:, :blocks]
            split += ((self.offsets.float() - middle) * of_offsets)[..., None]
        return split.view(out, width)


def stored_bits(width: int, bits: int, *, offsets: bool) -> int:
    """Bits that a row of that many numbers takes in a draft's file, with what belongs to it. Raises QuantizeError."""
    blocks = blocks_of(width)
    all_blocks = blocks + (-(-blocks // BLOCK) if offsets else 0)
    return all_blocks * (BLOCK * bits + 8) + 16


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
