"""Linear layers in int8: weights that take a quarter of float32's memory, and sums of integers, which no order moves."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import nn

MOST = 127.0  # of a whole number
_OFFSET = 128  # behind which oneDNN finds numbers from -127 on in bytes without a sign
LEAST_SCALE = 1e-12  # the scale of a row of zeros
_CUDA_ROWS = 32  # rows at least: torch multiplies int8 matrices on CUDA from 17 rows on


Parts = dict[str, torch.Tensor]
"""Rounded weights, as they are kept: tensors whose rows are a layer's outputs."""


class Packed:
    """Weights in int8 in the order in which oneDNN reads them."""

    def __init__(self, weight: torch.Tensor) -> None:
        """Of `weight` [out, in]. Raises what a build of torch without oneDNN raises, which is this and that."""
        self._weight = torch.ops.onednn.qlinear_prepack(weight, None)
        self._zeros = torch.zeros(len(weight), dtype=torch.int32)

    def product(self, rows: torch.Tensor, scale: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        """Of whole numbers from -127 to 127 [n, in]: [n, out] in `dtype`, times `scale` [out]. `rows` are changed."""
        octets = rows.add_(_OFFSET).to(torch.uint8)
        y: torch.Tensor = torch.ops.onednn.qlinear_pointwise(
            octets, 1.0, _OFFSET, self._weight, scale, self._zeros, None, 1.0, 0, dtype, "none", [], ""
        )
        return y


class IntegerLinear(nn.Module, ABC):
    """x [..., in] -> x Wᵀ + b [..., out] with W as whole numbers, one scale for each output, and x rounded to int8 row by row.

    Products are added up as integers, so what a row gets does not depend on the rows beside it, not in the last bit.
    """

    name: str
    """What its weights are rounded to."""
    weight_bytes: int

    def __init__(
        self, inputs: int, scale: torch.Tensor, bias: torch.Tensor | None, shrink: torch.Tensor | None
    ) -> None:
        """Each output has a `scale` [out]. Inputs are multiplied by `shrink` [in], if it is given, before they are rounded."""
        super().__init__()
        self.in_features, self.out_features = inputs, len(scale)
        self.most = MOST
        """The largest whole number of a rounded row, 127 at most."""
        self.scale = nn.Buffer(scale, persistent=False)
        self.bias = None if bias is None else nn.Buffer(bias, persistent=False)
        self.shrink = None if shrink is None else nn.Buffer(shrink, persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Multiply."""
        rows = x.reshape(-1, self.in_features).float()
        if self.shrink is not None:
            rows = rows * self.shrink
        scale = rows.abs().amax(1, keepdim=True).clamp_min_(LEAST_SCALE).div_(self.most)
        y = self.product((rows / scale).round_()).mul_(scale)
        if self.bias is not None:
            y += self.bias
        return y.to(x.dtype).view(*x.shape[:-1], self.out_features)

    @classmethod
    @abstractmethod
    def made_of(cls, parts: Parts, bias: torch.Tensor | None) -> IntegerLinear:
        """The layer of what `rounded_parts` gave."""

    @abstractmethod
    def product(self, rows: torch.Tensor) -> torch.Tensor:
        """Of whole numbers up to `most` on both sides of 0 [n, in]: [n, out], times the weights' scale. `rows` may be changed."""

    @abstractmethod
    def pack(self, packed: Packed | None) -> None:
        """Take the same weights packed, if they are, and forget what only that is made of."""

    @abstractmethod
    def in_int8(self) -> torch.Tensor:
        """The weights [out, in], as long as it is not packed."""


class Int8Linear(IntegerLinear):
    """With weights in int8."""

    name = "int8"

    def __init__(
        self, weight: torch.Tensor, scale: torch.Tensor, bias: torch.Tensor | None, shrink: torch.Tensor | None = None
    ) -> None:
        """Multiply by `weight` [out, in], of which each output has a `scale` [out]."""
        super().__init__(weight.shape[1], scale, bias, shrink)
        self.weight_bytes = weight.nbytes
        self.weight = nn.Buffer(weight, persistent=False)
        self._packed: Packed | None = None

    @classmethod
    def made_of(cls, parts: Parts, bias: torch.Tensor | None) -> Int8Linear:
        """See `IntegerLinear`."""
        return cls(parts["weight"], parts["scale"], bias, parts.get("shrink"))

    @staticmethod
    def rounded_parts(weight: torch.Tensor, _importance: torch.Tensor | None = None) -> Parts:
        """`weight` [out, in], rounded."""
        scale = weight.abs().amax(1, keepdim=True).clamp_min(LEAST_SCALE) / MOST
        return {"weight": (weight / scale).round_().to(torch.int8), "scale": scale[:, 0].contiguous()}

    def pack(self, packed: Packed | None) -> None:
        """See `IntegerLinear`."""
        self._packed = packed
        if packed is not None:
            del self.weight

    def in_int8(self) -> torch.Tensor:
        """See `IntegerLinear`."""
        return self.weight

    def product(self, rows: torch.Tensor) -> torch.Tensor:
        """See `IntegerLinear`."""
        if self._packed is not None:
            return self._packed.product(rows, self.scale, torch.float32)
        rounded = rows.to(torch.int8)
        missing = _CUDA_ROWS - len(rounded) if rows.device.type == "cuda" else 0
        if missing > 0:
            rounded = nn.functional.pad(rounded, (0, 0, 0, missing))
        sums = torch._int_mm(rounded, self.weight.t())  # noqa: SLF001 - the only product of int8 that torch has
        return sums[: len(rows)] * self.scale
