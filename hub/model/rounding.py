"""A loaded model's linear layers, rounded to the whole numbers that the settings ask for.

Few inputs of a layer are much larger than the others, and one scale has to reach them all. So inputs may be shrunk, each by a factor of its
own, before they are rounded, and the weights that they meet stretched by as much. Some ways to choose the factors are tried on what the layer is given
in texts of the model's own (SmoothQuant, arXiv:2211.10438, and AWQ, arXiv:2306.00978), and for each layer the one is taken that errs least.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from hub.model.calibration import inputs_of, one_thread
from hub.model.identity import short_hash
from hub.model.int4 import Int4Linear
from hub.model.int8 import Int8Linear, IntegerLinear, Parts
from hub.model.joined import join_layers
from hub.model.linear import replace_linear
from hub.settings import Weights
from hub.tensor_file import TensorFile, checksum

log = logging.getLogger(__name__)

_FORMAT = 3  # the version of what is in a file, which is part of its name
_MOST_FILES = 3  # of rounded weights
# Shares of the logarithm of an input's size, and of that of its weights, that a factor has.
_WAYS = ((0.0, 0.0), (0.25, 0.0), (0.5, 0.0), (0.5, 0.5), (0.75, 0.25))
_MOST_WEIGHTS = 2**29  # of a model that is calibrated
_LEAST_POSITIONS = 32  # whose inputs say something of a layer; experts may be given fewer
_TRIED = 256  # outputs on which ways are tried
_LEAST = 1e-5  # of sizes, as a share of the largest


def round_layers(model: Any, weights: Weights, identity: str, folder: Path | None, attention: str) -> str:
    """Round all linear layers, and join those that are given one input. A head in 4 bits would show in every probability: it is in int8.

    What they are rounded to is kept in `folder`, if there is one, for the next model of the same `identity`. `attention` is the name of
    the model's attention function, which it has again afterwards. Returns the rounded model's identity.
    """
    head = model.get_output_embeddings()
    names = {module: name for name, module in model.named_modules()}
    file = TensorFile(folder, f"{identity}-{weights.value}-{_FORMAT}", _MOST_FILES)
    known = _by_layer(file.read())
    given = _inputs(model, attention) if not known and _is_small(model) else {}
    fresh: dict[str, Parts] = {}

    def rounded(linears: Sequence[nn.Linear]) -> IntegerLinear:
        name = names[linears[0]]
        kind = _kind(Weights.INT8 if linears[0] is head else weights, linears)
        parts = known.get(name)
        if parts is None:
            weight = torch.cat([linear.weight.detach().float() for linear in linears])
            parts = fresh[name] = _parts(kind, weight, (given or {}).get(linears[0]))
        return kind.made_of(parts, _bias(linears))

    join_layers(model, rounded)
    replace_linear(model, lambda linear: rounded([linear]))
    layers = known | fresh
    tensors = {f"{layer}:{part}": tensor for layer, parts in layers.items() for part, tensor in parts.items()}
    if fresh and given is not None:
        file.write(tensors)
    return short_hash(f"{identity} {checksum(tensors)}".encode())


def _by_layer(tensors: Parts) -> dict[str, Parts]:
    layers: dict[str, Parts] = {}
    for key, tensor in tensors.items():
        layer, _, part = key.rpartition(":")
        layers.setdefault(layer, {})[part] = tensor
    return layers


def _is_small(model: nn.Module) -> bool:
    """Whether a model is calibrated: with more weights, one thread would take minutes for the texts."""
    return sum(parameter.numel() for parameter in model.parameters()) <= _MOST_WEIGHTS


def _inputs(model: Any, attention: str) -> dict[nn.Module, torch.Tensor] | None:
    """What its layers are given; None where that can't be had."""
    try:
        return inputs_of(model, attention)
    except Exception as error:
        # Architectures fail in many ways; rounding does without, and whether the hub computes the model is seen later.
        log.warning("weights are rounded without a look at what they meet: %s", error)
        return None


@torch.inference_mode()
def _parts(kind: type[Int8Linear | Int4Linear], weight: torch.Tensor, given: torch.Tensor | None) -> Parts:
    """What `weight` [out, in] is rounded to for inputs like those `given` [positions, in]."""
    if given is None or len(given) < _LEAST_POSITIONS or not bool(given.isfinite().all()):
        return kind.rounded_parts(weight)
    some = weight[:: max(1, len(weight) // _TRIED)][:_TRIED]
    some = some[: len(some) // 16 * 16] if len(some) >= 16 else some
    sizes = given.abs().amax(0), weight.abs().amax(0)

    def error(factors: torch.Tensor) -> float:
        tried = kind.made_of(_stretched(kind, some, _importance(given, factors), factors), None)
        return float((tried(given) - expected).square().sum())

    with one_thread():
        expected = given @ some.T
        best = min((_factors(sizes, way) for way in _WAYS), key=error)
        importance = _importance(given, best)
    return _stretched(kind, weight, importance, best)


def _factors(sizes: tuple[torch.Tensor, torch.Tensor], way: tuple[float, float]) -> torch.Tensor:
    """By how much weights are stretched [in], one on average, for `sizes` [in] of inputs and of weights."""
    factors = torch.ones_like(sizes[0])
    for size, share in zip(sizes, (way[0], -way[1]), strict=True):
        factors *= size.clamp_min(_LEAST * float(size.max())).pow(share)
    return factors / factors.log().mean().exp()


def _importance(given: torch.Tensor, factors: torch.Tensor) -> torch.Tensor:
    """How much an error of a stretched weight counts [in]."""
    squares = (given / factors).square().mean(0)
    return squares + _LEAST * float(squares.max())


def _stretched(
    kind: type[Int8Linear | Int4Linear], weight: torch.Tensor, importance: torch.Tensor, factors: torch.Tensor
) -> Parts:
    """`weight` [out, in], stretched by `factors` [in] and rounded; errors count by their `importance` [in]."""
    parts = kind.rounded_parts(weight * factors, importance)
    return parts if bool((factors == 1).all()) else {**parts, "shrink": 1 / factors}


def _kind(weights: Weights, linears: Sequence[nn.Linear]) -> type[Int8Linear | Int4Linear]:
    """What layers can be rounded to: int8 where their sizes do not allow for blocks."""
    outputs = sum(linear.out_features for linear in linears)
    blocks = weights is Weights.INT4 and Int4Linear.takes(outputs, linears[0].in_features)
    return Int4Linear if blocks else Int8Linear


def _bias(linears: Sequence[nn.Linear]) -> torch.Tensor | None:
    biases: list[torch.Tensor] = [linear.bias.detach() for linear in linears if linear.bias is not None]
    return torch.cat(biases) if biases else None
