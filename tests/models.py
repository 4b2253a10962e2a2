"""Small models with random weights, in the form of real checkpoints, and a pair made of them."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import (
    Gemma2Config,
    Gemma2ForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    OPTConfig,
    OPTForCausalLM,
    Phi3Config,
    Phi3ForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    StableLmConfig,
    StableLmForCausalLM,
    XGLMConfig,
    XGLMForCausalLM,
)
from transformers.models.doge.configuration_doge import DogeConfig
from transformers.models.doge.modeling_doge import DogeForCausalLM

from hub.model.exits import ExitHead

VOCAB, CONTEXT, END = 96, 192, 1
_SHAPE = {
    "vocab_size": VOCAB,
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 96,
    "max_position_embeddings": CONTEXT,
    "bos_token_id": None,
    "eos_token_id": END,
}


def llama(seed: int = 0) -> LlamaForCausalLM:
    torch.manual_seed(seed)
    model = LlamaForCausalLM(LlamaConfig(**_SHAPE))
    _make_louder(model)
    return model


def qwen2(seed: int = 0) -> Qwen2ForCausalLM:
    torch.manual_seed(seed)
    model = Qwen2ForCausalLM(Qwen2Config(**_SHAPE))
    _make_louder(model)
    return model


def stablelm() -> StableLmForCausalLM:
    """A model whose attention is not replaceable: transformers 4 does not load it so, 5 does and fails in its forward."""
    return StableLmForCausalLM(StableLmConfig(**_SHAPE))


def doge() -> DogeForCausalLM:
    """A model whose attention adds a mask of its own to what is causal."""
    return DogeForCausalLM(DogeConfig(**_SHAPE, keep_window_size=16))


def gemma2() -> Gemma2ForCausalLM:
    """A model whose attention caps its scores."""
    layers = ["full_attention"] * _SHAPE["num_hidden_layers"]  # type: ignore[operator]
    return Gemma2ForCausalLM(Gemma2Config(**_SHAPE, head_dim=16, layer_types=layers, sliding_window=0))


def opt() -> OPTForCausalLM:
    """A model that makes its mask itself in transformers 4."""
    shape = {name: size for name, size in _SHAPE.items() if name != "num_key_value_heads"}
    return OPTForCausalLM(OPTConfig(**shape, ffn_dim=96, word_embed_proj_dim=64, pad_token_id=0))


def xglm() -> XGLMForCausalLM:
    """A model that has attention of its own kind, which takes no notice of ours."""
    shape = {"vocab_size": VOCAB, "d_model": 64, "num_layers": 2, "attention_heads": 4, "ffn_dim": 96}
    return XGLMForCausalLM(XGLMConfig(**shape, max_position_embeddings=CONTEXT, bos_token_id=0, eos_token_id=END))


def longrope() -> LlamaForCausalLM:
    """A model whose rotary factors are others for all positions once there is a position past 64."""
    torch.manual_seed(0)
    factors = {
        "short_factor": [1.0] * 8,
        "long_factor": [4.0] * 8,
        "factor": 3.0,
        "original_max_position_embeddings": 64,
    }
    shape = {**_SHAPE, "original_max_position_embeddings": 64}
    model = LlamaForCausalLM(LlamaConfig(**shape, rope_scaling={"rope_type": "longrope", **factors}))
    _make_louder(model)
    return model


def phi4_mini() -> Phi3ForCausalLM:
    """The same as in Phi-3-mini-128k and Phi-4-mini: of their own architecture, with positions in a part of each head."""
    torch.manual_seed(0)
    factors = {"type": "longrope", "short_factor": [1.0] * 6, "long_factor": [1.5, 2.0, 3.0, 5.0, 8.0, 12.0]}
    shape = {**_SHAPE, "pad_token_id": 0, "original_max_position_embeddings": 64, "partial_rotary_factor": 0.75}
    model = Phi3ForCausalLM(Phi3Config(**shape, rope_scaling=factors))
    _make_louder(model)
    return model


def _make_louder(model: torch.nn.Module) -> None:
    """Random weights give nearly flat logits; scaled up, the argmax has a margin as a trained model's has."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.mul_(4)
    model.eval()


def exit_head(layer: int = 1, size: int = 64) -> ExitHead:
    """A head with random weights that is right now and then: its layer as if it were the last, and something beside."""
    torch.manual_seed(layer)
    head = ExitHead(layer, size, width=8)
    with torch.no_grad():
        head.down.weight.mul_(4)
    return head


def save(model: torch.nn.Module, folder: Path) -> str:
    model.save_pretrained(folder)  # type: ignore[operator]
    return str(folder)
