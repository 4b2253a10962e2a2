"""A loaded model's linear layers, rounded to the whole numbers that the settings ask for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from hub.model.int4 import Int4Linear
from hub.model.int8 import Int8Linear, IntegerLinear, Parts
from hub.model.joined import join_layers
from hub.model.linear import replace_linear
from hub.model.rounded_file import RoundedFile
from hub.settings import Weights


def round_layers(model: Any, weights: Weights, identity: str, folder: Path | None) -> None:
    """Round all linear layers, and join those that are given one input. A head in 4 bits would show in every probability: it is in int8.

    What they are rounded to is kept in `folder`, if there is one, for the next model of the same `identity`.
    """
    head = model.get_output_embeddings()
    names = {module: name for name, module in model.named_modules()}
    file = RoundedFile(folder, f"{identity}-{weights.value}")
    known = file.read()
    fresh: dict[str, Parts] = {}

    def rounded(linears: Sequence[nn.Linear]) -> IntegerLinear:
        name = names[linears[0]]
        kind = _kind(Weights.INT8 if linears[0] is head else weights, linears)
        parts = known.get(name)
        if parts is None:
            parts = kind.rounded_parts(torch.cat([linear.weight.detach().float() for linear in linears]))
            fresh[name] = parts
        return kind.made_of(parts, _bias(linears))

    join_layers(model, rounded)
    replace_linear(model, lambda linear: rounded([linear]))
    if fresh:
        file.write(known | fresh)


def _kind(weights: Weights, linears: Sequence[nn.Linear]) -> type[Int8Linear | Int4Linear]:
    """What layers can be rounded to: int8 where their sizes do not allow for blocks."""
    outputs = sum(linear.out_features for linear in linears)
    blocks = weights is Weights.INT4 and Int4Linear.takes(outputs, linears[0].in_features)
    return Int4Linear if blocks else Int8Linear


def _bias(linears: Sequence[nn.Linear]) -> torch.Tensor | None:
    biases: list[torch.Tensor] = [linear.bias.detach() for linear in linears if linear.bias is not None]
    return torch.cat(biases) if biases else None
