"""llama.cpp beside the drafter: the same checkpoint in its own format, decoding token by token.

It and the package `gguf` are no dependencies; `pip install llama-cpp-python gguf` builds it for the machine that it is on.
"""

from __future__ import annotations

import ctypes
import importlib.util
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file

# The type of the matrices, by bits. The head has 8 bits, as in a draft graph: llama.cpp's own quantizer chooses the same.
_TYPES = {4: "Q4_0", 8: "Q8_0"}
_HEAD_TYPE = "Q8_0"
_NAMES = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def is_installed() -> bool:
    """Whether llama.cpp and what writes its files can be imported."""
    return all(importlib.util.find_spec(name) is not None for name in ("llama_cpp", "gguf"))


def write_gguf(checkpoint: Path, bits: int, out: Path) -> None:
    """Write the Llama checkpoint in a folder to the file `out`, quantized to 4 or 8 bits; it gets no tokenizer."""
    import gguf

    config = json.loads((checkpoint / "config.json").read_text())
    heads, kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
    writer = gguf.GGUFWriter(out, "llama")
    writer.add_vocab_size(config["vocab_size"])
    writer.add_tokenizer_model("no_vocab")
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(kv_heads)
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_dimension_count(config["hidden_size"] // heads)
    writer.add_rope_freq_base(config["rope_theta"])
    for name, weight in load_file(checkpoint / "model.safetensors").items():
        array = weight.astype(np.float32)
        if "q_proj" in name or "k_proj" in name:
            array = _interleaved(array, heads if "q_proj" in name else kv_heads)
        of_head = name in ("model.embed_tokens.weight", "lm_head.weight")
        kind = gguf.GGMLQuantizationType[_HEAD_TYPE if of_head else _TYPES[bits]] if array.ndim == 2 else None
        data = array if kind is None else gguf.quants.quantize(array, kind)
        writer.add_tensor(_renamed(name), data, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _renamed(name: str) -> str:
    if not name.startswith("model.layers."):
        return _NAMES[name]
    layer, part = name.removeprefix("model.layers.").removesuffix(".weight").split(".", maxsplit=1)
    return f"blk.{layer}.{_NAMES[part]}.weight"


def _interleaved(rows: npt.NDArray[np.float32], heads: int) -> npt.NDArray[np.float32]:
    """Put rows 0, d/2, 1, d/2 + 1, … of each head next to each other: llama.cpp rotates neighbours, transformers halves."""
    halves = rows.reshape(heads, 2, -1, rows.shape[1])
    return np.ascontiguousarray(halves.swapaxes(1, 2)).reshape(rows.shape)


class LlamaCpp:
    """A model in llama.cpp with a context of its own; K/V are float16, flash attention is on where llama.cpp chooses it."""

    def __init__(self, path: Path, *, threads: int, context: int) -> None:
        import llama_cpp

        self._api: Any = llama_cpp
        self._api.llama_log_set(_silent(llama_cpp), ctypes.c_void_p())
        self._model = llama_cpp.llama_model_load_from_file(str(path).encode(), llama_cpp.llama_model_default_params())
        params = llama_cpp.llama_context_default_params()
        params.n_ctx = context
        params.n_threads = params.n_threads_batch = threads
        self._context = llama_cpp.llama_init_from_model(self._model, params)
        if not self._model or not self._context:
            raise RuntimeError(f"llama.cpp cannot load {path}")
        self._vocab_size = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(self._model))

    def rewind(self, length: int) -> None:
        """Forget all but the first `length` ids."""
        self._api.llama_memory_seq_rm(self._api.llama_get_memory(self._context), 0, length, -1)

    def feed(self, ids: Sequence[int]) -> npt.NDArray[np.float32]:
        """Append ids; return the logits behind the last, in llama.cpp's own memory."""
        array = (ctypes.c_int32 * len(ids))(*ids)  # the batch points to it
        if self._api.llama_decode(self._context, self._api.llama_batch_get_one(array, len(ids))) != 0:
            raise RuntimeError("llama.cpp cannot decode")
        pointer = self._api.llama_get_logits_ith(self._context, -1)
        logits: npt.NDArray[np.float32] = np.ctypeslib.as_array(pointer, shape=(self._vocab_size,))
        return logits

    def close(self) -> None:
        """Give its memory back."""
        self._api.llama_free(self._context)
        self._api.llama_model_free(self._model)


_kept: list[Any] = []  # a callback that C holds must not be collected


def _silent(llama_cpp: Any) -> Any:
    if not _kept:
        _kept.append(llama_cpp.llama_log_callback(lambda *_: None))
    return _kept[0]
