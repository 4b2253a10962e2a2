"""A model split over processes: each has a part of the heads and of the wide layers, and their outputs are summed.

Which layers are split, and how, is transformers' `base_model_tp_plan` of the architecture (Megatron-LM, arXiv:1909.08053): "colwise" gives a rank
some of a layer's outputs, "rowwise" some of its inputs, behind which the ranks sum. Layers that the plan would put together again at once
("colwise_rep", "rowwise_rep"), embeddings and the head are whole in every rank.
"""

from __future__ import annotations

from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import nn

from shared.errors import PairError

_SPLIT = {"colwise": 0, "rowwise": 1}  # and the dimension of the weight [out, in]
_WHOLE = ("colwise_rep", "rowwise_rep", "colwise_gather_output", "rowwise_split_input", "replicated")
_HEADS = ("num_attention_heads", "num_key_value_heads")


def split_layers(model: Any, rank: int, count: int) -> list[str]:
    """Leave of each layer what rank `rank` of `count` has of it, and of the configuration's heads as many. The names of the layers behind which ranks sum.

    Raises PairError for an architecture that has no plan, or that can't be split by so many.
    """
    plan = getattr(model.config, "base_model_tp_plan", None)
    if not plan:
        raise PairError(
            f"transformers has no plan by which {model.config.model_type!r} is split over processes; serve it with --ranks 1"
        )
    summed = []
    split_heads = False
    for name, layer in list(_base(model).named_modules()):
        style = next((style for pattern, style in plan.items() if fnmatchcase(name, pattern)), None)
        if style is None or style in _WHOLE:
            continue
        if style not in _SPLIT or type(layer) is not nn.Linear:
            raise PairError(
                f"the layer {name} of {model.config.model_type!r} is split in a way that this hub does not know; serve it with --ranks 1"
            )
        _split(layer, _SPLIT[style], rank, count, name)
        split_heads |= name.endswith("k_proj")
        if style == "rowwise":
            summed.append(name)
    if split_heads:
        _split_heads(model.config, count)
    return summed


def sum_behind(model: Any, layers: list[str], add_up: Callable[[torch.Tensor], object]) -> None:
    """Have the outputs of these layers summed over all ranks, in place."""

    def hook(_layer: nn.Module, _inputs: Any, output: torch.Tensor) -> torch.Tensor:
        output = output.contiguous()
        add_up(output)
        return output

    for name in layers:
        _base(model).get_submodule(name).register_forward_hook(hook)


def _base(model: Any) -> nn.Module:
    base: nn.Module = getattr(model, model.base_model_prefix)
    return base


def _split(layer: nn.Linear, dimension: int, rank: int, count: int, name: str) -> None:
    size = layer.weight.shape[dimension]
    if size % count:
        raise PairError(
            f"the layer {name} has {size} {'inputs' if dimension else 'outputs'}, which can't be split by {count}; choose other --ranks"
        )
    part = slice(rank * size // count, (rank + 1) * size // count)
    weight = layer.weight.detach()
    layer.weight = nn.Parameter((weight[:, part] if dimension else weight[part]).clone(), requires_grad=False)
    layer.out_features, layer.in_features = layer.weight.shape
    if layer.bias is not None and not dimension:
        layer.bias = nn.Parameter(layer.bias.detach()[part].clone(), requires_grad=False)
    elif rank:
        layer.register_parameter("bias", None)  # the ranks sum: one of them adds it


def _split_heads(config: Any, count: int) -> None:
    config.head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    for name in _HEADS:
        heads = getattr(config, name, None)
        if heads is None:
            continue
        if heads % count:
            raise PairError(f"{heads} heads ({name}) can't be split by {count}; choose other --ranks")
        setattr(config, name, heads // count)
