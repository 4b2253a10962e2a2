"""Products and sums of rows in a fixed order, in the place of torch's own, for all that this process computes on a device.

torch's libraries for a GPU choose how they split a sum by the number of rows. So while a `FixedOrder` is at work, the operators that
layers, norms and routers come down to run on the kernels of `hub.model.row_kernels`: whatever classes a model is made of.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import torch

from hub.model.row_kernels import TILES, product, row_sum

_aten: Any = torch.ops.aten


class FixedOrder:
    """At work from its making until it is closed, or nobody holds it any more."""

    def __init__(self, key: str = "CUDA") -> None:
        """For tensors on the devices that torch's dispatcher knows by `key`."""
        # Torch forgets kernels when the library that brought them is gone.
        self._library = torch.library.Library("aten", "IMPL")
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore", UserWarning
            )  # torch says that kernels take the place of others: so they shall
            for name, kernel in _KERNELS.items():
                self._library.impl(name, kernel, key)

    def close(self) -> None:
        """Give torch's own operators back."""
        self._library._destroy()  # noqa: SLF001 - torch has no other way to take kernels back


def _mm(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    if _can_multiply(x, y):
        return product(x[None], y[None])[0]
    out: torch.Tensor = _aten.mm.out(x, y, out=x.new_empty(0))
    return out


def _bmm(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    if _can_multiply(x, y) and len(x) == len(y):
        return product(x, y)
    out: torch.Tensor = _aten.bmm.out(x, y, out=x.new_empty(0))
    return out


def _addmm(bias: torch.Tensor, x: torch.Tensor, y: torch.Tensor, *, beta: float = 1, alpha: float = 1) -> torch.Tensor:
    plain = beta == alpha == 1 and bias.dtype is x.dtype and bias.shape == y.shape[1:]
    if plain and _can_multiply(x, y):
        return product(x[None], y[None], bias)[0]
    out: torch.Tensor = _aten.addmm.out(bias, x, y, beta=beta, alpha=alpha, out=x.new_empty(0))
    return out


def _mean(
    x: torch.Tensor, dim: Sequence[int] | None, keepdim: bool = False, *, dtype: torch.dtype | None = None
) -> torch.Tensor:
    kind = dtype or x.dtype
    if _is_of_rows(x, dim, kind):
        mean = row_sum(x, kind, mean=True)
        return mean[..., None] if keepdim else mean
    out: torch.Tensor = _aten.mean.out(x, dim, keepdim, dtype=dtype, out=x.new_empty(0, dtype=kind))
    return out


def _sum(
    x: torch.Tensor, dim: Sequence[int] | None, keepdim: bool = False, *, dtype: torch.dtype | None = None
) -> torch.Tensor:
    whole = not (x.dtype.is_floating_point or x.dtype.is_complex)
    kind = dtype or (torch.int64 if whole else x.dtype)
    if _is_of_rows(x, dim, kind):
        total = row_sum(x, kind, mean=False)
        return total[..., None] if keepdim else total
    out: torch.Tensor = _aten.sum.IntList_out(x, dim, keepdim, dtype=dtype, out=x.new_empty(0, dtype=kind))
    return out


_KERNELS = {"mm": _mm, "bmm": _bmm, "addmm": _addmm, "mean.dim": _mean, "sum.dim_IntList": _sum}


def _can_multiply(x: torch.Tensor, y: torch.Tensor) -> bool:
    """Whether the kernel takes these. What it does not take goes to torch, which also says what is wrong with it."""
    return x.dtype in TILES and y.dtype is x.dtype and x.device == y.device and x.shape[-1] == y.shape[-2]


def _is_of_rows(x: torch.Tensor, dim: Sequence[int] | None, kind: torch.dtype) -> bool:
    if dim is None or x.dtype not in TILES or kind not in TILES:
        return False
    return list(dim) in ([-1], [x.ndim - 1]) and x.shape[-1] > 0
