"""Linear layers of a target in other forms than a checkpoint's: packed for a CPU, or in int8."""

from __future__ import annotations

import torch
from torch import nn

_INT8 = 127.0
_LEAST_SCALE = 1e-12  # the scale of a row of zeros
_CUDA_ROWS = 32  # rows at least: torch multiplies int8 matrices on CUDA from 17 rows on


class PackedLinear(nn.Module):
    """x [..., in] -> x Wᵀ + b [..., out] on a CPU, with the weights in the order in which oneDNN reads them.

    Packing once saves the reordering of every call: in bfloat16 a third of the time of a few dozen tokens. And oneDNN gives
    a row the same bits beside any others, which torch's own products do not, if the row is not alone: so one row is two.
    """

    def __init__(self, linear: nn.Linear) -> None:
        """Take over the weights of `linear`."""
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.weight_bytes = linear.weight.nbytes
        self.bias = linear.bias
        self._packed = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach(), None)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Multiply."""
        rows = x.reshape(-1, self.in_features)
        if len(rows) == 1:
            rows = torch.cat((rows, rows))
        y: torch.Tensor = torch.ops.mkldnn._linear_pointwise(rows, self._packed, self.bias, "none", [], "")
        return y[: x.numel() // self.in_features].view(*x.shape[:-1], self.out_features)


class Int8Linear(nn.Module):
    """x [..., in] -> x Wᵀ + b [..., out] with W in int8, one scale for each output, and x rounded to int8 row by row.

    Products are added up as integers, so what a row gets does not depend on the rows beside it, not in the last bit.
    """

    def __init__(self, linear: nn.Linear) -> None:
        """Round the weights of `linear`."""
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.bias = linear.bias
        weight = linear.weight.detach().float()
        scale = weight.abs().amax(1, keepdim=True).clamp_min(_LEAST_SCALE) / _INT8
        rounded = (weight / scale).round_().to(torch.int8)
        self.weight_bytes = rounded.nbytes
        self._weight = nn.Buffer(rounded, persistent=False)
        self._scale = nn.Buffer(scale[:, 0], persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Multiply."""
        rows = x.reshape(-1, self.in_features).float()
        scale = rows.abs().amax(1, keepdim=True).clamp_min(_LEAST_SCALE) / _INT8
        rounded = (rows / scale).round_().to(torch.int8)
        missing = _CUDA_ROWS - len(rounded) if x.device.type == "cuda" else 0
        if missing > 0:
            rounded = nn.functional.pad(rounded, (0, 0, 0, missing))
        products = torch._int_mm(rounded, self._weight.t())[: len(rows)]
        y = products * scale * self._scale
        if self.bias is not None:
            y += self.bias
        return y.to(x.dtype).view(*x.shape[:-1], self.out_features)


def can_pack(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether packing is possible."""
    if device.type != "cpu" or not torch.backends.mkldnn.is_available():
        return False
    return dtype is torch.float32 or (dtype is torch.bfloat16 and torch.ops.mkldnn._is_mkldnn_bf16_supported())


def replace_linear(model: nn.Module, kind: type[PackedLinear | Int8Linear], *, but: nn.Module | None = None) -> None:
    """Put a layer of that kind for every linear one in the model, except `but`."""
    for module in list(model.modules()):
        for name, child in module.named_children():
            if type(child) is nn.Linear and child is not but:
                setattr(module, name, kind(child))


def linear_bytes(model: nn.Module) -> int:
    """Bytes of the weights of all linear layers: what every forward reads."""
    layers = (m for m in model.modules() if isinstance(m, (nn.Linear, PackedLinear, Int8Linear)))
    return sum(m.weight.nbytes if isinstance(m, nn.Linear) else m.weight_bytes for m in layers)
