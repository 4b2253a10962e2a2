"""Small models with random weights, in the form of real checkpoints, and a pair made of them."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    Qwen2Config,
    Qwen2ForCausalLM,
    StableLmConfig,
    StableLmForCausalLM,
)

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


def sliding_mistral_config() -> MistralConfig:
    return MistralConfig(**_SHAPE, sliding_window=16)


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
