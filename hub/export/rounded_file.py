"""The numbers of a checkpoint whose weights learnt to be few bits, in a file beside it: an exported draft takes them as they are."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from hub.export.layers import layers_of, linears_of
from hub.export.rounded import Levels, Rounded
from hub.export.rounding import Grid
from shared.errors import PairError

ROUNDED = "rounded_weights.st"  # its name does not end as those of weights do, which a checkpoint has all of


def write_rounded(path: Path, weights: Mapping[str, Rounded]) -> None:
    """Write the numbers of weights by their names."""
    tensors: dict[str, torch.Tensor] = {}
    for name, rounded in weights.items():
        tensors |= {f"{name}.numbers": rounded.numbers, f"{name}.bits": torch.tensor(rounded.bits)}
        for table, levels in (("scales", rounded.scales), ("offsets", rounded.offsets)):
            if levels is not None:
                tensors |= {f"{name}.{table}.whole": levels.whole, f"{name}.{table}.factors": levels.factors}
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)


def read_rounded(path: Path) -> dict[str, Rounded]:
    """The numbers of weights by their names. Raises PairError for a file that is none of these."""
    try:
        tensors = load_file(path)
        names = [key.removesuffix(".bits") for key in tensors if key.endswith(".bits")]
        return {name: _rounded(tensors, name) for name in names}
    except (SafetensorError, KeyError, ValueError, OSError) as error:
        raise PairError(f"{path} holds no rounded weights ({error}); make the draft again") from None


def _rounded(tensors: Mapping[str, torch.Tensor], name: str) -> Rounded:
    offsets = _levels(tensors, f"{name}.offsets") if f"{name}.offsets.whole" in tensors else None
    return Rounded(
        tensors[f"{name}.numbers"], _levels(tensors, f"{name}.scales"), offsets, int(tensors[f"{name}.bits"])
    )


def _levels(tensors: Mapping[str, torch.Tensor], name: str) -> Levels:
    return Levels(tensors[f"{name}.whole"], tensors[f"{name}.factors"])


def grid_of(weights: Mapping[str, Rounded]) -> Grid:
    """The same, found by rows."""
    grid = Grid()
    for rounded in weights.values():
        grid.add(rounded)
    return grid


def named_rounded(model: Any, grid: Grid) -> dict[str, Rounded]:
    """The numbers of the weights of a model's layers that `grid` knows, by their names."""
    ours = {id(linear) for layer in layers_of(model) for linear in linears_of(layer)}
    linears = {name: module for name, module in model.named_modules() if id(module) in ours}
    found = {name: grid.find(linear.weight.detach().numpy()) for name, linear in linears.items()}
    return {name: rounded for name, rounded in found.items() if rounded is not None}
