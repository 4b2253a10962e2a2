"""The models of the built-in pair: their shape, their logits at the answers, and the folder form they are kept in."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from hub.distil.training import multiplies_in_16_bits
from tools.home.data.tokenizer import END, PAD
from tools.home.training.batches import Batch

VOCAB_SIZE = 2048
CONTEXT = 1024
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
# bfloat16 where the machine multiplies in it; elsewhere it would be several times slower than float32.
_AUTOCAST = DEVICE.type == "cuda" or multiplies_in_16_bits()
_ATTENTION = "eager"  # faster than sdpa for rows this short on a CPU; a saved model does not record it


def home_config(depth: int, tokenizer: Tokenizer) -> LlamaConfig:
    """The shape of target (6 layers) and draft (2)."""
    return LlamaConfig(
        vocab_size=VOCAB_SIZE,
        hidden_size=192,
        num_hidden_layers=depth,
        num_attention_heads=6,
        num_key_value_heads=3,
        intermediate_size=576,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        pad_token_id=tokenizer.token_to_id(PAD),
        bos_token_id=None,
        eos_token_id=tokenizer.token_to_id(END),
    )


def new_model(config: LlamaConfig) -> LlamaForCausalLM:
    """A model of that shape with random weights."""
    return _on_device(AutoModelForCausalLM.from_config(config, attn_implementation=_ATTENTION))


def load_model(folder: Path) -> LlamaForCausalLM:
    """The model that `save_model` wrote, in float32."""
    loaded = AutoModelForCausalLM.from_pretrained(folder, attn_implementation=_ATTENTION, dtype=torch.float32)
    return _on_device(loaded)


def _on_device(model: Any) -> LlamaForCausalLM:
    moved: LlamaForCausalLM = model.to(DEVICE)
    return moved


def save_model(model: LlamaForCausalLM, folder: Path) -> None:
    """Write the model in Hugging Face form, in bfloat16; `model` stays as it is."""
    copy.deepcopy(model).bfloat16().save_pretrained(folder)


def answer_logits(model: LlamaForCausalLM, batch: Batch) -> torch.Tensor:
    """Logits [answer ids, vocabulary] in float32, where the next id belongs to an answer: the head runs only there."""
    with torch.autocast(DEVICE.type, torch.bfloat16, enabled=_AUTOCAST):
        hidden = model.model(input_ids=batch.ids, use_cache=False).last_hidden_state[:, :-1][batch.answer]
        logits: torch.Tensor = model.lm_head(hidden)
    return logits.float()


def answer_losses(model: LlamaForCausalLM, batch: Batch) -> torch.Tensor:
    """Cross entropy [answer ids] of each id of the answers, row by row, nats."""
    logits, true = answer_logits(model, batch), batch.ids[:, 1:][batch.answer]
    return torch.nn.functional.cross_entropy(logits, true, reduction="none")
