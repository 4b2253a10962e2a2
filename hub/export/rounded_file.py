"""The numbers of a checkpoint whose weights learnt to be few bits, in a file beside it: an exported draft takes them as they are."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from hub.export.layers import layers_of, linears_of
from hub.export.rounded import Rounded
from hub.export.rounding import Grid
from shared.errors import PairError

ROUNDED = "rounded_weights.st"  # its name does not end as those of weights do, which a checkpoint has all of

_PARTS = ("numbers", "offsets", "levels", "factors")


def write_rounded(path: Path, weights: Mapping[str, Rounded]) -> None:
    """Write the numbers of weights by their names."""
    tensors = {
        f"{name}.{part}": tensor.contiguous()
        for name, rounded in weights.items()
        for part in _PARTS
        if (tensor := getattr(rounded, part)) is not None
    }
    save_file(tensors | {f"{name}.bits": torch.tensor(rounded.bits) for name, rounded in weights.items()}, path)


def read_rounded(path: Path) -> dict[str, Rounded]:
    """The numbers of weights by their names. Raises PairError for a file that is none of these."""
    try:
        tensors = load_file(path)
        names = [key.removesuffix(".bits") for key in tensors if key.endswith(".bits")]
        return {name: _rounded(tensors, name) for name in names}
    except (SafetensorError, KeyError, ValueError, OSError) as error:
        raise PairError(f"{path} holds no rounded weights ({error}); make the draft again") from None


def _rounded(tensors: Mapping[str, torch.Tensor], name: str) -> Rounded:
    parts = {part: tensors.get(f"{name}.{part}") for part in _PARTS}
    if any(parts[part] is None for part in _PARTS if part != "offsets"):
        raise KeyError(name)
    return Rounded(**cast("dict[str, Any]", parts), bits=int(tensors[f"{name}.bits"]))


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
