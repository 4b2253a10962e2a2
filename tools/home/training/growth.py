"""A model that gets deeper: new layers go on top, behind the others and before the final norm, and change nothing at first.

A layer adds to the residual stream what its `o_proj` and `down_proj` put out. With these two at zero a new layer is the
identity; its other matrices are random. For a few steps it trains alone (the look-ahead), then the whole model does.
"""

from __future__ import annotations

import copy

import torch
from transformers import LlamaForCausalLM

from tools.home.training.model import new_model


def resized(model: LlamaForCausalLM, depth: int) -> LlamaForCausalLM:
    """A new model of `depth` layers: the lowest are copies of `model`'s, any above them are the identity."""
    config = copy.deepcopy(model.config)
    config.num_hidden_layers = depth
    result = new_model(config)
    with torch.no_grad():
        for layer in result.model.layers[model.config.num_hidden_layers :]:
            layer.self_attn.o_proj.weight.zero_()
            layer.mlp.down_proj.weight.zero_()
    result.load_state_dict(model.state_dict(), strict=False)
    return result


def freeze_below(model: LlamaForCausalLM, depth: int) -> None:
    """Let only the layers from `depth` upwards train; with `depth` 0 everything does, embedding and final norm too."""
    model.requires_grad_(depth == 0)
    model.model.layers[depth:].requires_grad_(True)
