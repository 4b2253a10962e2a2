"""Linear layers in int8: weights that take a quarter of float32's memory, and sums of integers, which no order moves."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import nn

_MOST = 127.0
_OFFSET = 128  # behind which oneDNN finds numbers from -127 on in bytes without a sign
_LEAST_SCALE = 1e-12  # the scale of a row of zeros
_CUDA_ROWS = 32  # rows at least: torch multiplies int8 matrices on CUDA from 17 rows on
_TRIED = (1, 8, 32)  # rows
_TIMES = 5


class Int8Linear(nn.Module):
    """x [..., in] -> x Wᵀ + b [..., out] with W in int8, one scale for each output, and x rounded to int8 row by row.

    Products are added up as integers, so what a row gets does not depend on the rows beside it, not in the last bit.
    """

    def __init__(self, weight: torch.Tensor, scale: torch.Tensor, bias: torch.Tensor | None) -> None:
        """Multiply by `weight` [out, in], whole numbers in int8, of which each output has a `scale` [out]."""
        super().__init__()
        self.out_features, self.in_features = weight.shape
        self.weight_bytes = weight.nbytes
        self.weight = nn.Buffer(weight, persistent=False)
        self.scale = nn.Buffer(scale, persistent=False)
        self.bias = None if bias is None else nn.Buffer(bias, persistent=False)
        self._packed: torch.Tensor | None = None

    @classmethod
    def rounded(cls, linear: nn.Linear) -> Int8Linear:
        """With the weights of `linear`, rounded."""
        weight = linear.weight.detach().float()
        scale = weight.abs().amax(1, keepdim=True).clamp_min(_LEAST_SCALE) / _MOST
        bias = None if linear.bias is None else linear.bias.detach()
        return cls((weight / scale).round_().to(torch.int8), scale[:, 0], bias)

    @classmethod
    def joined(cls, layers: Sequence[Int8Linear]) -> Int8Linear:
        """The outputs of all of them, one behind the other. All have a bias, or none."""
        biases: list[torch.Tensor] = [layer.bias for layer in layers if layer.bias is not None]
        weight, scale = torch.cat([layer.weight for layer in layers]), torch.cat([layer.scale for layer in layers])
        return cls(weight, scale, torch.cat(biases) if biases else None)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Multiply."""
        rows = x.reshape(-1, self.in_features).float()
        scale = torch.linalg.vector_norm(rows, math.inf, 1, keepdim=True).clamp_min_(_LEAST_SCALE).div_(_MOST)
        y = self.product((rows / scale).round_()).mul_(scale)
        if self.bias is not None:
            y += self.bias
        return y.to(x.dtype).view(*x.shape[:-1], self.out_features)

    def pack(self) -> None:
        """Hold the weights in the order in which oneDNN reads them, and no other way."""
        self._packed = torch.ops.onednn.qlinear_prepack(self.weight, None)
        self._zeros = torch.zeros(self.out_features, dtype=torch.int32)
        del self.weight

    def product(self, rows: torch.Tensor) -> torch.Tensor:
        """Of whole numbers from -127 to 127 [n, in]: [n, out], times the weights' scale."""
        if self._packed is not None:
            octets = rows.add_(_OFFSET).to(torch.uint8)
            arguments: tuple[Any, ...] = (
                self._packed,
                self.scale,
                self._zeros,
                None,
                1.0,
                0,
                torch.float32,
                "none",
                [],
                "",
            )
            product: torch.Tensor = torch.ops.onednn.qlinear_pointwise(octets, 1.0, _OFFSET, *arguments)
            return product
        rounded = rows.to(torch.int8)
        missing = _CUDA_ROWS - len(rounded) if rows.device.type == "cuda" else 0
        if missing > 0:
            rounded = nn.functional.pad(rounded, (0, 0, 0, missing))
        return torch._int_mm(rounded, self.weight.t())[: len(rows)] * self.scale  # noqa: SLF001 - the only product of int8 that torch has


@torch.inference_mode()
def pack_where_faster(layers: Iterable[Int8Linear]) -> None:
    """Pack the layers of each shape for which that is faster with torch's present number of threads, and gives the same sums."""
    faster: dict[tuple[int, int], bool] = {}
    for layer in layers:
        shape = layer.out_features, layer.in_features
        if shape not in faster:
            faster[shape] = _packing_helps(*shape)
        if faster[shape]:
            layer.pack()


def _packing_helps(outputs: int, inputs: int) -> bool:
    """Whether a packed layer of that shape gives the sums of a plain one, the largest too, in less time."""
    generator = torch.Generator().manual_seed(0)
    weight = torch.randint(-127, 128, (outputs, inputs), dtype=torch.int8, generator=generator)
    weight[::2] = 127  # sums of pairs of such products are too large for some processors' instructions
    plain = Int8Linear(weight, torch.ones(outputs), None)
    packed = Int8Linear(weight, torch.ones(outputs), None)
    rows = torch.randint(-127, 128, (_TRIED[-1], inputs), generator=generator).float()
    rows[::2] = 127.0
    try:
        packed.pack()
        if not torch.equal(packed.product(rows.clone()), plain.product(rows.clone())):
            return False
    except (RuntimeError, AttributeError, NotImplementedError):  # what a build of torch lacks, it says in several ways
        return False
    return math.prod(_seconds(packed, rows[:count]) / _seconds(plain, rows[:count]) for count in _TRIED) < 1


def _seconds(layer: Int8Linear, rows: torch.Tensor) -> float:
    measured = []
    for _ in range(_TIMES):
        started = time.perf_counter()
        layer.product(rows.clone())
        measured.append(time.perf_counter() - started)
    return min(measured)
