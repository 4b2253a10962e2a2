"""A student: the target with some of its layers."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from hub.export.layers import layers_of

_BY_LAYER = ("layer_types", "no_rope_layers", "mlp_layer_types")  # lists of a configuration that have an entry a layer


def student_of(model: Any, layers: Sequence[int]) -> Any:
    """A model of its own that has the given layers of `model`, in their order, and all else of it."""
    config = copy.deepcopy(model.config)
    config.num_hidden_layers = len(layers)
    for name in _BY_LAYER:
        if isinstance(listed := getattr(config, name, None), list):
            setattr(config, name, [listed[layer] for layer in layers])
    with torch.device("meta"):
        student = type(model)(config)
    student = student.to_empty(device="cpu").to(torch.float32)
    ours, theirs = layers_of(student), layers_of(model)
    for mine, layer in zip(ours, layers, strict=True):
        mine.load_state_dict(theirs[layer].state_dict())
    rest = {name: tensor for name, tensor in model.state_dict().items() if not _is_of(theirs, name, model)}
    student.load_state_dict(rest, strict=False)
    student.tie_weights()
    _copy_buffers(model, student)
    return student.eval()


def _is_of(layers: nn.ModuleList, name: str, model: Any) -> bool:
    prefix = next(path for path, module in model.named_modules() if module is layers)
    return name.startswith(f"{prefix}.")


def _copy_buffers(model: Any, student: Any) -> None:
    """Tables that are computed and not stored, rotary frequencies for instance, are empty in a model that was made without memory."""
    known = dict(model.named_buffers())
    for name, buffer in student.named_buffers():
        if name in known and known[name].shape == buffer.shape:
            buffer.copy_(known[name])
