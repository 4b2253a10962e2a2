"""Linear layers of a target made for a CPU, and how a model's layers are replaced."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from hub.model.int8 import IntegerLinear

_LONG = 2**18  # weights from which a product takes so long that oneDNN's call, 30 µs more than MKL's, does not show
_ARITHMETIC = {  # what a CPU has that multiplies in the type
    torch.float32: ("architecture",),
    torch.bfloat16: ("avx512_bf16", "amx_bf16", "bf16"),
    torch.float16: ("avx512_fp16", "amx_fp16", "fp16_arith"),
}


@dataclass(frozen=True)
class Tiles:
    """How many rows are multiplied at once: all of them and at least `rows`; with `cut` just so many, however many there are."""

    rows: int = 1
    cut: bool = False


_ALL = Tiles()


class CpuLinear(nn.Module):
    """x [..., in] -> x Wᵀ + b [..., out] on a CPU, rounded to the type of x.

    Large weights are packed once in the order in which oneDNN reads them; small ones are left to torch, whose call is
    shorter. `tiles` says how many rows these are given at once: the order of their sums may hang on that.
    """

    def __init__(self, linear: nn.Linear, dtype: torch.dtype) -> None:
        """Take over the weights of `linear`, to multiply in `dtype`."""
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.tiles = _ALL
        self.dtype = dtype
        self.bias = None if linear.bias is None else nn.Buffer(linear.bias.detach().to(dtype), persistent=False)
        weight = linear.weight.detach().to(dtype)
        self.weight_bytes = weight.nbytes
        self._packed = _packs(dtype, weight.numel())
        self._weight = torch.ops.mkldnn._reorder_linear_weight(weight, None) if self._packed else weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Multiply."""
        if x.dtype is self.dtype and not self._packed and self.tiles == _ALL:
            return self._product(x)
        rows = x.reshape(-1, self.in_features).to(self.dtype)
        if not (count := len(rows)):
            return x.new_empty(*x.shape[:-1], self.out_features)
        at_once = self.tiles.rows if self.tiles.cut else max(count, self.tiles.rows)
        if missing := -count % at_once:
            rows = nn.functional.pad(rows, (0, 0, 0, missing))
        if len(rows) == at_once:
            y = self._product(rows)
        else:
            y = torch.cat([self._product(tile) for tile in rows.split(at_once)])
        return (y[:count] if missing else y).to(x.dtype).view(*x.shape[:-1], self.out_features)

    def _product(self, rows: torch.Tensor) -> torch.Tensor:
        if not self._packed:
            return nn.functional.linear(rows, self._weight, self.bias)
        y: torch.Tensor = torch.ops.mkldnn._linear_pointwise(rows, self._weight, self.bias, "none", [], "")
        return y


def has_arithmetic(dtype: torch.dtype) -> bool:
    """Whether this CPU multiplies in `dtype`; else every number is turned into float32 and back for it."""
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name) for name in _ARITHMETIC[dtype])


def _packs(dtype: torch.dtype, weights: int) -> bool:
    if not torch.backends.mkldnn.is_available():
        return False
    if dtype is torch.float32:
        return weights >= _LONG or not torch.backends.mkl.is_available()
    if dtype is torch.bfloat16:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return bool(torch.ops.mkldnn._is_mkldnn_fp16_supported())


def turn_transposed(model: nn.Module) -> None:
    """Put a linear layer for each whose weight transformers keeps transposed, [in, out], as in GPT-2."""
    for module in list(model.modules()):
        for name, child in module.named_children():
            if isinstance(child, Conv1D):
                linear = nn.Linear(child.nx, child.nf, device="meta")
                linear.weight = nn.Parameter(child.weight.detach().T.contiguous(), requires_grad=False)
                linear.bias = nn.Parameter(child.bias.detach(), requires_grad=False)
                setattr(module, name, linear)


def replace_linear(model: nn.Module, made: Callable[[nn.Linear], nn.Module]) -> None:
    """Put what is `made` of it for every linear layer in the model."""
    for module in list(model.modules()):
        for name, child in module.named_children():
            if type(child) is nn.Linear:
                setattr(module, name, made(child))


def linear_bytes(model: nn.Module) -> int:
    """Bytes of the weights of all linear layers: what every forward reads."""
    layers = (m for m in model.modules() if isinstance(m, (nn.Linear, CpuLinear, IntegerLinear)))
    return sum(m.weight.nbytes if isinstance(m, nn.Linear) else m.weight_bytes for m in layers)
