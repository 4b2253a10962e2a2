"""Linear layers in 4 bits, which are layers of int8 as well: a forward of few rows reads half as much, and no bit shows it.

A weight is scale × (step × q + zero). q has 4 bits, step and zero are whole numbers of a block of weights, and the scale is an output's; what
stands in brackets is a whole number of 8 bits. Few rows are multiplied by torch's kernel for 4 bits, which adds up in float32: rows are rounded
to whole numbers so small that no sum can be more than float32 holds exactly. More rows go to oneDNN's product of int8, which is faster from a
handful of rows on. Both round their sums to bfloat16.
"""

from __future__ import annotations

import torch

from hub.model.int8 import LEAST_SCALE, MOST, IntegerLinear, Packed, Parts

BLOCK = 32  # weights of an output that share step and zero
_OUTPUTS = 16  # torch's kernel wants a multiple of them
_BITS = 4
_LEVELS = 2**_BITS
_LOWEST, _HIGHEST = -8, 7  # q
_STEPS = (0.7, 0.8, 0.9, 1.0, 1.1)  # tried for each block, as shares of the step that reaches all its weights
_LARGEST_STEP = 17.0  # by which 16 levels reach from -127 to 127
_EXACT = 2**24  # up to which float32 holds every whole number
_INNER = 2  # an argument of torch's packing that a CPU does not heed
_AT_ONCE = 2**17  # weights that are rounded at a time: what is computed of them stays in a processor's cache


class Int4Linear(IntegerLinear):
    """With weights in 4 bits, and in int8 too where they were packed."""

    name = "int4"

    def __init__(
        self,
        q: torch.Tensor,
        blocks: torch.Tensor,
        scale: torch.Tensor,
        bias: torch.Tensor | None,
        shrink: torch.Tensor | None = None,
    ) -> None:
        """Of `q` [out, in], step and zero of `blocks` [out, in / BLOCK, 2], both in int8, and outputs' `scale` [out]."""
        super().__init__(q.shape[1], scale, bias, shrink)
        levels = (q - _LOWEST).to(torch.int32)
        self._q = torch.ops.aten._convert_weight_to_int4pack_for_cpu(levels, _INNER)
        self._blocks = blocks.transpose(0, 1).to(torch.bfloat16).contiguous()
        self.weight_bytes = self._q.nbytes + self._blocks.nbytes
        self.q, self.blocks = q, blocks
        self.few = 0
        """Rows up to which the kernel for 4 bits takes them, although packed weights are there."""
        reach = int(self.in_int8().abs().sum(1, dtype=torch.int32).max())
        self.most = min(MOST, float(_EXACT // max(reach, 1)))  # so that no sum leaves the whole numbers of float32
        self._packed: Packed | None = None
        self._ones = torch.ones(self.out_features)

    @classmethod
    def made_of(cls, parts: Parts, bias: torch.Tensor | None) -> Int4Linear:
        """See `IntegerLinear`."""
        pairs = parts["pairs"]
        levels = torch.stack([pairs & _LEVELS - 1, pairs >> _BITS], -1).flatten(1).to(torch.int8)
        return cls(levels.add_(_LOWEST), parts["blocks"], parts["scale"], bias, parts.get("shrink"))

    @staticmethod
    def takes(outputs: int, inputs: int) -> bool:
        """Whether weights [outputs, inputs] allow for blocks."""
        return not (inputs % BLOCK or outputs % _OUTPUTS)

    @staticmethod
    def rounded_parts(weight: torch.Tensor, importance: torch.Tensor | None = None) -> Parts:
        """`weight` [out, in], rounded; an input's error counts by its `importance` [in]."""
        counts = torch.ones(weight.shape[1]) if importance is None else importance
        pieces = [_rounded(some, counts) for some in weight.split(max(1, _AT_ONCE // weight.shape[1]))]
        q, blocks, scale = (torch.cat(each) for each in zip(*pieces, strict=True))
        levels = q.sub_(_LOWEST).to(torch.uint8)
        pairs = levels[:, ::2] | levels[:, 1::2] << _BITS
        return {"pairs": pairs, "blocks": blocks.to(torch.int8), "scale": scale}

    def pack(self, packed: Packed | None) -> None:
        """See `IntegerLinear`."""
        self._packed = packed
        del self.q, self.blocks

    def in_int8(self) -> torch.Tensor:
        """See `IntegerLinear`."""
        step, zero = self.blocks.unbind(-1)
        blocks = self.q.view(self.out_features, -1, BLOCK) * step[..., None] + zero[..., None]
        return blocks.view(self.out_features, self.in_features)

    def product(self, rows: torch.Tensor) -> torch.Tensor:
        """See `IntegerLinear`."""
        if self._packed is None or len(rows) <= self.few:
            numbers = rows.to(torch.bfloat16)
            sums = torch.ops.aten._weight_int4pack_mm_for_cpu(numbers, self._q, BLOCK, self._blocks)
        else:
            sums = self._packed.product(rows, self._ones, torch.bfloat16)
        y: torch.Tensor = sums * self.scale
        return y


def _rounded(weight: torch.Tensor, importance: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """q [out, in], steps and zeros [out, in / BLOCK, 2], scale [out] of `weight` [out, in], with small errors' squares, which count by `importance` [in]."""
    counts = importance.view(-1, BLOCK)
    scale = weight.abs().amax(1).clamp_min(LEAST_SCALE) / MOST
    wanted = (weight / scale[:, None]).view(len(weight), -1, BLOCK)
    low, high = wanted.amin(-1, keepdim=True), wanted.amax(-1, keepdim=True)
    found: tuple[torch.Tensor, ...] = ()
    for share in _STEPS:
        step = ((high - low) / (_HIGHEST - _LOWEST) * share).round_().clamp_(1, _LARGEST_STEP)
        zero = ((low + high + step) / 2).round_()
        q = ((wanted - zero) / step).round_().clamp_(_LOWEST, _HIGHEST)
        whole = q * step + zero
        q += (whole < -MOST).float() - (whole > MOST).float()
        error = (q * step + zero - wanted).square().mul_(counts).sum(-1, keepdim=True)
        tried = error, q, step, zero
        better = error < found[0] if found else torch.ones_like(error, dtype=torch.bool)
        found = tuple(torch.where(better, new, old) for new, old in zip(tried, found or tried, strict=True))
    _, q, step, zero = found
    return q.to(torch.int8).view_as(weight), torch.cat([step, zero], -1), scale
