"""Tiny checkpoints with random weights, of every architecture that the hub is told to serve or to refuse.

Their windows are shorter than the texts of tests and benchmarks, and their weights are scaled up: random ones give nearly flat
logits, and then the argmax has no margin as a trained model's has.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM

VOCABULARY, CONTEXT, END = 96, 192, 0  # ids of the tokenizer, positions, and the id that ends a turn
WINDOW = 40  # longer than the texts of a hub's check at its start, which so does not see its end
LAYERS = 4
_LOUDER = 12.0  # of matrices: what is attended to then matters, and texts do not run in circles
_EMBEDDED = 4.0  # of embeddings, which may be the head too: larger, they would hide what layers add to them
_SHARD_BYTES = 100_000
_SHAPE: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 64,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 96,
    "max_position_embeddings": CONTEXT,
    "bos_token_id": None,
    "eos_token_id": END,
    "pad_token_id": None,
}
Edit = Callable[[Path], object]


@dataclass(frozen=True)
class Architecture:
    """A checkpoint: transformers' name of its architecture, and in what its configuration is not the usual one of these tests."""

    kind: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    louder: float = _LOUDER
    shard_bytes: int = 1 << 30
    edit: Edit = lambda _: None  # what is done to the folder once it is saved

    def save(self, folder: Path) -> Path:
        """Make the checkpoint in `folder`, with the same weights each time."""
        torch.manual_seed(1)
        config = AutoConfig.for_model(self.kind, **{**_SHAPE, **self.facts})
        model = AutoModelForCausalLM.from_config(config)
        embeddings = [module.weight for module in model.modules() if isinstance(module, torch.nn.Embedding)]
        with torch.no_grad():
            for parameter in model.parameters():
                if any(parameter is embedding for embedding in embeddings):
                    parameter.mul_(_EMBEDDED)
                elif parameter.ndim > 1:
                    parameter.mul_(self.louder)
                elif parameter.ndim == 1:  # biases and scales of norms: else they are all 0, or all 1
                    parameter.add_(torch.randn(parameter.shape) * 0.1)
        model.save_pretrained(folder, max_shard_size=self.shard_bytes)
        self.edit(folder)
        return folder


def _configured(**facts: Any) -> Edit:
    """Edits that write `facts` into `config.json`."""

    def edit(folder: Path) -> None:
        path = folder / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | facts))

    return edit


def _layers(*kinds: str) -> list[str]:
    """Types of the layers, by transformers' names, from the beginnings of these."""
    return [f"{kinds[layer % len(kinds)]}_attention" for layer in range(LAYERS)]


def _scaled(kind: str, **facts: Any) -> dict[str, Any]:
    return {"rope_scaling": {"rope_type": kind, **facts}}


_ORIGINAL = {"original_max_position_embeddings": 96}
_LONG = {"short_factor": [1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7], "long_factor": [4.0] * 8}
_ONE_FOR_EACH: dict[str, Any] = {"num_key_value_heads": None}  # K/V heads are not spoken of
_OPT = {**_ONE_FOR_EACH, "ffn_dim": 96, "word_embed_proj_dim": 64, "pad_token_id": 1}
_GPTQ = {"quant_method": "gptq", "bits": 4, "group_size": 32, "desc_act": False}
_AWQ = {"quant_method": "awq", "bits": 4, "group_size": 32, "zero_point": True, "version": "gemm"}
_EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32}

# Facts that transformers 4 and 5 read in one way: of longrope the factor is the context over the original one, and OLMo-3 has that base.
ARCHITECTURES: dict[str, Architecture] = {
    "llama": Architecture("llama"),
    "llama-tied": Architecture("llama", {"tie_word_embeddings": True}),
    "llama-biases": Architecture("llama", {"attention_bias": True, "mlp_bias": True}),
    "llama-sharded": Architecture("llama", shard_bytes=_SHARD_BYTES),
    "llama-llama3": Architecture(
        "llama", _scaled("llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, **_ORIGINAL)
    ),
    "llama-linear": Architecture("llama", _scaled("linear", factor=4.0)),
    "llama-yarn": Architecture("llama", _scaled("yarn", factor=3.0, **_ORIGINAL)),
    "llama-longrope": Architecture("llama", {**_ORIGINAL, **_scaled("longrope", factor=2.0, **_LONG, **_ORIGINAL)}),
    "llama-dynamic": Architecture("llama", {**_ORIGINAL, **_scaled("dynamic", factor=3.0, **_ORIGINAL)}),
    "smollm3": Architecture("smollm3"),
    "mistral": Architecture("mistral", {"sliding_window": WINDOW}),
    "mistral-full": Architecture("mistral", {"sliding_window": None, "head_dim": 32}),
    "ministral": Architecture("ministral", {"sliding_window": WINDOW, "head_dim": 16}),
    "qwen2": Architecture("qwen2"),
    "qwen2-window": Architecture(
        "qwen2", {"use_sliding_window": True, "sliding_window": WINDOW, "max_window_layers": 2}
    ),
    "qwen3": Architecture("qwen3", {"head_dim": 32}),
    "qwen3-padded": Architecture("qwen3", {"head_dim": 32, "vocab_size": 128, "tie_word_embeddings": True}),
    "gemma": Architecture("gemma", {"head_dim": 32}),
    "gemma2": Architecture(
        "gemma2", {"head_dim": 32, "sliding_window": WINDOW, "attn_logit_softcapping": 2.0, "query_pre_attn_scalar": 24}
    ),
    "gemma3": Architecture(
        "gemma3_text",
        {"head_dim": 32, "sliding_window": WINDOW, "layer_types": _layers("sliding", "sliding", "full")},
    ),
    "phi": Architecture("phi", {"partial_rotary_factor": 0.5}),
    "phi3": Architecture("phi3", {"pad_token_id": 0}),
    "phi3-window": Architecture("phi3", {"pad_token_id": 0, "sliding_window": WINDOW}),
    "phi3-longrope": Architecture("phi3", {"pad_token_id": 0, **_ORIGINAL, "rope_scaling": {"type": "longrope", **_LONG}}),
    "olmo": Architecture("olmo", {"clip_qkv": 2.0}),
    "olmo2": Architecture("olmo2"),
    "olmo3": Architecture("olmo3", {"rope_theta": 5e5, "sliding_window": WINDOW, "layer_types": _layers("sliding", "sliding", "sliding", "full")}),
    "granite": Architecture(
        "granite",
        {"attention_multiplier": 0.11, "embedding_multiplier": 3.0, "residual_multiplier": 0.5, "logits_scaling": 2.0},
    ),
    "stablelm": Architecture("stablelm"),
    "gpt-neox": Architecture("gpt_neox", {**_ONE_FOR_EACH, "rotary_pct": 0.25}),
    "starcoder2": Architecture("starcoder2"),
    "starcoder2-window": Architecture("starcoder2", {"sliding_window": WINDOW}),
    "cohere": Architecture("cohere"),
    "cohere-qk-norm": Architecture("cohere", {"use_qk_norm": True}),
    "cohere2": Architecture("cohere2", {"sliding_window": WINDOW, "layer_types": _layers("sliding", "full")}),
    "glm": Architecture("glm", {"head_dim": 16, "pad_token_id": 0}),
    "glm4": Architecture("glm4", {"head_dim": 16, "pad_token_id": 0}),
    "nemotron": Architecture("nemotron", {"head_dim": 16}),
    "helium": Architecture("helium", {"head_dim": 16}),
    "exaone4": Architecture("exaone4", {"sliding_window": WINDOW, "layer_types": _layers("sliding", "sliding", "sliding", "full")}),
    "ernie4.5": Architecture("ernie4_5", {"head_dim": 16}),
    "gpt2": Architecture("gpt2", _ONE_FOR_EACH),
    "gpt-j": Architecture("gptj", {**_ONE_FOR_EACH, "rotary_dim": 8}),
    "mixtral": Architecture("mixtral", {"num_local_experts": 4, "num_experts_per_tok": 2, "sliding_window": None}),
    "qwen2-moe": Architecture("qwen2_moe", {**_EXPERTS, "shared_expert_intermediate_size": 32}),
    "qwen3-moe": Architecture("qwen3_moe", {**_EXPERTS, "head_dim": 32}),
    "olmoe": Architecture("olmoe", {"num_experts": 4, "num_experts_per_tok": 2}),
    "granite-moe": Architecture("granitemoe", {"num_local_experts": 4, "num_experts_per_tok": 2}),
    "opt": Architecture("opt", _OPT),
    "falcon": Architecture("falcon", {**_ONE_FOR_EACH, "alibi": False, "new_decoder_architecture": False, "multi_query": True}),
    "falcon-alibi": Architecture("falcon", {**_ONE_FOR_EACH, "alibi": True, "new_decoder_architecture": False, "multi_query": True}),
    "bloom": Architecture("bloom", _ONE_FOR_EACH),
    "doge": Architecture("doge", {"keep_window_size": 16}),
    "gpt-oss": Architecture("gpt_oss", {"num_local_experts": 4, "num_experts_per_tok": 2, "head_dim": 16, "sliding_window": WINDOW}),
    "deepseek-v3": Architecture(
        "deepseek_v3",
        {"num_key_value_heads": 4, "moe_intermediate_size": 32, "n_routed_experts": 4, "num_experts_per_tok": 2}
        | {"n_group": 1, "topk_group": 1, "kv_lora_rank": 16, "q_lora_rank": 16, "qk_rope_head_dim": 8}
        | {"qk_nope_head_dim": 16, "v_head_dim": 16, "first_k_dense_replace": 1, "n_shared_experts": 1},
    ),
    "llama4": Architecture(
        "llama4_text",
        {"attention_chunk_size": WINDOW, "head_dim": 16, "intermediate_size_mlp": 96, "num_local_experts": 2, "pad_token_id": 0},
    ),
    "mamba": Architecture("mamba", {**_ONE_FOR_EACH, "num_attention_heads": None, "max_position_embeddings": None, "state_size": 4, "conv_kernel": 4}),
    "jamba": Architecture("jamba", {"use_mamba_kernels": False, "num_experts": 1, "mamba_d_state": 4, "mamba_dt_rank": 4, "attn_layer_period": 2, "attn_layer_offset": 1}),
    "lfm2": Architecture("lfm2", {"layer_types": ["conv", "full_attention"] * (LAYERS // 2)}),
    "recurrent-gemma": Architecture("recurrent_gemma", {"lru_width": 64, "attention_window_size": WINDOW, "head_dim": 16}),
    "qwen3-next": Architecture("qwen3_next", {**_EXPERTS, "head_dim": 16, "shared_expert_intermediate_size": 32, "linear_num_value_heads": 4, "linear_num_key_heads": 2, "linear_key_head_dim": 16, "linear_value_head_dim": 16}),
    "gptq": Architecture("llama", edit=_configured(quantization_config=_GPTQ)),
    "awq": Architecture("llama", edit=_configured(quantization_config=_AWQ)),
}  # fmt: skip
