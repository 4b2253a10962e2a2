"""llama.cpp beside a draft or a hub: the same checkpoint in its own format, decoding token by token.

It and the package `gguf` are no dependencies; `pip install llama-cpp-python gguf` builds it for the machine that it is on.
"""

from __future__ import annotations

import ctypes
import importlib.util
import json
import os
import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from safetensors.torch import load_file

from shared.errors import SettingsError

# The types of the matrices and of the head, by bits. Beside 4 bits the head has 8, as in a draft graph: llama.cpp's own quantizer chooses the same.
_TYPES = {4: ("Q4_0", "Q8_0"), 8: ("Q8_0", "Q8_0"), 16: ("BF16", "BF16")}
_PROGRAM = "llama-batched-bench"
_BATCH = 2048  # ids of a prompt that llama.cpp takes at once
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


@dataclass(frozen=True)
class Rates:
    """Tokens per second: of a prompt that is taken in, and of all sequences that are decoded together."""

    prefilled_per_s: float
    decoded_per_s: float


class Peer(Protocol):
    """llama.cpp, however it is there."""

    name: str

    def rates(self, path: Path, sequences: int, prompt: int, steps: int) -> Rates:
        """Of the model in a file: a prompt of so many ids, which all sequences share, and so many tokens of each behind it."""


class BatchedBench:
    """By llama.cpp's own program for that."""

    name = _PROGRAM

    def rates(self, path: Path, sequences: int, prompt: int, steps: int) -> Rates:
        """See `Peer`. Raises RuntimeError when the program fails."""
        counts = ["-npp", str(prompt), "-ntg", str(steps), "-npl", str(sequences), "-pps"]
        room = ["-c", str(prompt + sequences * steps), "-b", str(_BATCH), "-t", str(_cores())]
        command = [_PROGRAM, "-m", str(path), *counts, *room, "--output-format", "jsonl"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
        if done.returncode or not lines:
            raise RuntimeError(f"{_PROGRAM} ended with status {done.returncode}: {done.stderr.strip()[-300:]}")
        told = json.loads(lines[-1])
        return Rates(told["speed_pp"], told["speed_tg"])


class Binding:
    """By llama.cpp's binding for Python."""

    name = "llama_cpp"

    def rates(self, path: Path, sequences: int, prompt: int, steps: int) -> Rates:
        """See `Peer`. Raises RuntimeError when the model can't be loaded or decoded."""
        context = prompt + sequences * (steps + 1)
        llama = LlamaCpp(path, threads=_cores(), context=context, sequences=sequences)
        try:
            began = time.perf_counter()
            llama.feed(range(1, prompt + 1))
            prefilled = time.perf_counter()
            llama.share(sequences)
            llama.step([1] * sequences, prompt)  # the first step makes what the others use
            stepped = time.perf_counter()
            for step in range(1, steps):
                llama.step([1] * sequences, prompt + step)
            decoded = time.perf_counter()
        finally:
            llama.close()
        return Rates(prompt / (prefilled - began), sequences * (steps - 1) / (decoded - stepped))


def find_peer() -> Peer:
    """The program if it is on the PATH, else the binding. Raises SettingsError where neither is there, or what writes its files."""
    how = f"`pip install llama-cpp-python gguf` builds it for this machine, or put its program {_PROGRAM} on the PATH and `pip install gguf`"
    if importlib.util.find_spec("gguf") is None:
        raise SettingsError(f"the package gguf is missing, which writes llama.cpp's files; {how}")
    if shutil.which(_PROGRAM) is not None:
        return BatchedBench()
    if is_installed():
        return Binding()
    raise SettingsError(f"llama.cpp is not installed; {how}")


def _cores() -> int:
    return len(os.sched_getaffinity(0))


def write_gguf(checkpoint: Path, bits: int, out: Path) -> None:
    """Write the Llama checkpoint in a folder to the file `out`, in 4, 8 or 16 bits; it gets no tokenizer."""
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
        array = weight.float().numpy()
        if "q_proj" in name or "k_proj" in name:
            array = _interleaved(array, heads if "q_proj" in name else kv_heads)
        of_head = name in ("model.embed_tokens.weight", "lm_head.weight")
        kind = gguf.GGMLQuantizationType[_TYPES[bits][of_head]] if array.ndim == 2 else None
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

    def __init__(self, path: Path, *, threads: int, context: int, sequences: int = 1) -> None:
        import llama_cpp

        self._api: Any = llama_cpp
        self._api.llama_log_set(_silent(llama_cpp), ctypes.c_void_p())
        self._model = llama_cpp.llama_model_load_from_file(str(path).encode(), llama_cpp.llama_model_default_params())
        params = llama_cpp.llama_context_default_params()
        params.n_ctx = context
        params.n_seq_max = sequences
        params.kv_unified = True
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

    def share(self, sequences: int) -> None:
        """Have so many sequences begin with what the first one holds."""
        memory = self._api.llama_get_memory(self._context)
        for other in range(1, sequences):
            self._api.llama_memory_seq_cp(memory, 0, other, -1, -1)

    def step(self, ids: Sequence[int], position: int) -> None:
        """Append one id to each sequence, all at that position, and compute the logits behind each."""
        batch = self._api.llama_batch_init(len(ids), 0, 1)
        batch.n_tokens = len(ids)
        for place, token in enumerate(ids):
            batch.token[place], batch.pos[place], batch.logits[place] = token, position, 1
            batch.n_seq_id[place], batch.seq_id[place][0] = 1, place
        failed = self._api.llama_decode(self._context, batch)
        self._api.llama_batch_free(batch)
        if failed:
            raise RuntimeError("llama.cpp cannot decode")

    def close(self) -> None:
        """Give its memory back."""
        self._api.llama_free(self._context)
        self._api.llama_model_free(self._model)


_kept: list[Any] = []  # a callback that C holds must not be collected


def _silent(llama_cpp: Any) -> Any:
    if not _kept:
        _kept.append(llama_cpp.llama_log_callback(lambda *_: None))
    return _kept[0]
