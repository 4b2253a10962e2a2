"""A causal LM while it is traced into a draft graph: its attention, its norms and its head are the graph's operators.

The rotation of query and key is left to the attention operator where the model rotates as that does, halves of a whole head by one
table for all layers; any other rotation is traced as the model computes it. Which it is is found by trying, as for the norms.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from optimum.exporters.onnx.base import OnnxConfig
from optimum.exporters.onnx.model_patcher import ModelPatcher, PatchingSpec
from transformers import AttentionInterface

from hub.export.operators import GroupQueryAttention, Head, Norm
from hub.model.attention import beyond_softmax
from hub.model.windows import windows_of
from shared.errors import SledError

ATTENTION_NAME = "sled_group_query"  # of the attention function that a model must have been loaded with
_ROTARY = "apply_rotary_pos_emb"
_TABLES = ("rotary_cos", "rotary_sin")
_SCALE = "whole_scale"
_ALIKE = 1e-4  # by which two ways to compute the same in float32 may differ, of numbers around 1


class ExportError(SledError):
    """A checkpoint cannot become a draft graph; the text says why."""


class DraftPatcher(ModelPatcher):  # type: ignore[misc]
    """While active, the model's forward is the draft graph's."""

    def __init__(self, config: OnnxConfig, model: Any, **options: Any) -> None:
        super().__init__(config, model, **options)
        head = model.get_output_embeddings()
        project: Any = Head.apply
        tensors = [tensor for tensor in (head.weight, head.bias) if tensor is not None]
        specs: list[tuple[Any, str, Any]] = [
            (head, "forward", lambda hidden: project(hidden.reshape(-1, head.weight.shape[1]), *tensors)),
            (model.config, "_attn_implementation", ATTENTION_NAME),
            *((norm, "forward", partial(_normalize, scale, epsilon)) for norm, scale, epsilon in _norms(model)),
        ]
        tables = _tables(model, config.facts["context"], config.facts["head_dim"])
        rotation = _Rotation(tables is not None)
        if tables is not None:
            specs.append((sys.modules[type(model).__module__], _ROTARY, rotation.left_to_the_operator))
            for name, table in zip(_TABLES, tables, strict=True):
                # A buffer becomes an initializer that all layers share; a constant would be copied into each.
                model.register_buffer(name, table)
        else:
            specs += [(each, "forward", _looking_up(each, config.facts["context"])) for each in _rotary(model)]
        self._patching_specs += [PatchingSpec(o, name, new, getattr(o, name)) for o, name, new in specs]

        def forward(input_ids: Any, seqlens_k: Any, total_length: Any, past_key_values: Any) -> dict[str, Any]:
            known = input_ids.shape[1]
            positions = torch.arange(known)[None] + (total_length.to(torch.int64) - known)
            tensors = [getattr(model, name) for name in _TABLES] if tables is not None else []
            work = _Work(past_key_values, (seqlens_k, total_length), tensors, rotation, windows_of(model.config))
            token = _work.set(work)
            try:
                logits = self.orig_forward(
                    input_ids=input_ids, position_ids=positions, use_cache=False, logits_to_keep=1
                ).logits
            finally:
                _work.reset(token)
            if len(work.present) < config.facts["layers"]:
                raise ExportError("its attention is not replaceable in this version of transformers")
            return {"logits": logits, "present": [work.present[layer] for layer in sorted(work.present)]}

        self.patched_forward = forward


class _Rotation:
    """Whether query and key of the layer that is traced are to be rotated by the operator: some layers have no positions."""

    def __init__(self, by_operator: bool) -> None:
        self._by_operator = by_operator
        self._wanted = False

    def left_to_the_operator(self, query: Any, key: Any, *_: Any, **__: Any) -> tuple[Any, Any]:
        """Stands in the place of the architecture's own rotation."""
        self._wanted = True
        return query, key

    def taken(self) -> bool:
        """Whether the layer that asks now has rotated."""
        wanted, self._wanted = self._wanted, False
        return wanted and self._by_operator


@dataclass(frozen=True)
class _Work:
    """What the layers of the forward that is traced attend to, and what they give."""

    past: list[tuple[torch.Tensor, torch.Tensor]]
    lengths: tuple[torch.Tensor, torch.Tensor]  # seqlens_k, total_length
    tables: list[torch.Tensor]
    rotation: _Rotation
    windows: tuple[int | None, ...]
    present: dict[int, tuple[torch.Tensor, ...]] = field(default_factory=dict)


_work: ContextVar[_Work] = ContextVar("work")


def _attend(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    **more: Any,
) -> tuple[torch.Tensor, None]:
    """Attend as transformers' attention interface asks.

    query is [1, heads, tokens, head_dim], key and value [1, kv_heads, …], the result [1, tokens, heads, head_dim]. Raises ExportError for what the operator has not.
    """
    work, layer = _work.get(), module.layer_idx
    if unknown := beyond_softmax(attention_mask, sliding_window, more, layer, work.windows):
        raise ExportError(f"its attention needs what a draft graph has not: {', '.join(unknown)}")
    heads, kv_heads, size = int(query.shape[1]), int(key.shape[1]), int(query.shape[3])
    if (int(key.shape[3]), int(value.shape[3])) != (size, size):
        raise ExportError("the heads of its keys and of its values differ in size")
    rows = [
        states.transpose(1, 2).reshape(1, -1, count * size)
        for states, count in ((query, heads), (key, kv_heads), (value, kv_heads))
    ]
    rotates = work.rotation.taken()
    attributes = {
        "num_heads_i": heads,
        "kv_num_heads_i": kv_heads,
        "scale_f": float(size**-0.5 if scaling is None else scaling),
        "do_rotary_i": int(rotates),
    }
    if sliding_window:
        attributes["local_window_size_i"] = int(sliding_window)
    if softcap:
        attributes["softcap_f"] = float(softcap)
    inputs = (*rows, *work.past[layer], *work.lengths, *(work.tables if rotates else []))
    output, *kept = GroupQueryAttention.apply(*inputs, attributes)  # type: ignore[no-untyped-call]
    work.present[layer] = tuple(kept)
    return output.reshape(1, -1, heads, size), None


AttentionInterface.register(ATTENTION_NAME, _attend)


def _norms(model: Any) -> Iterator[tuple[Any, torch.Tensor, float]]:
    """The model's RMS norms, each with the weight by which it scales and its epsilon."""
    for module in model.modules():
        epsilon = next((getattr(module, name) for name in ("variance_epsilon", "eps") if hasattr(module, name)), None)
        weight = getattr(module, "weight", None)
        if epsilon is None or weight is None or weight.ndim != 1 or getattr(module, "bias", None) is not None:
            continue
        tried = torch.randn(3, len(weight), generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            said = module(tried)
            if torch.allclose(said, Norm.forward(None, tried, weight, epsilon), rtol=_ALIKE, atol=_ALIKE):
                yield module, weight, float(epsilon)
            elif torch.allclose(said, Norm.forward(None, tried, 1 + weight, epsilon), rtol=_ALIKE, atol=_ALIKE):
                # Some architectures keep what a scale has above 1. A buffer becomes an initializer, as a parameter does.
                module.register_buffer(_SCALE, 1 + weight.detach())
                yield module, getattr(module, _SCALE), float(epsilon)


def _normalize(scale: torch.Tensor, epsilon: float, hidden: torch.Tensor) -> torch.Tensor:
    normalized: torch.Tensor = Norm.apply(hidden, scale, epsilon)  # type: ignore[no-untyped-call]
    return normalized


def _rotary(model: Any) -> list[Any]:
    """The modules that compute cosines and sines of positions."""
    return [module for module in model.modules() if type(module).__name__.endswith("RotaryEmbedding")]


def _looking_up(embedding: Any, context: int) -> Callable[..., tuple[torch.Tensor, torch.Tensor]]:
    """A forward of such a module that reads what it computes from a table: exporters get some of the ways to compute it wrong."""
    with torch.no_grad():
        cos, sin = embedding(torch.zeros(1), torch.arange(context)[None])
    tables = cos[0].contiguous(), sin[0].contiguous()
    return lambda _, position_ids: (tables[0][position_ids], tables[1][position_ids])


def _tables(model: Any, context: int, head_dim: int) -> list[torch.Tensor] | None:
    """Cosines and sines [context, head_dim / 2], if the model rotates by one table as the operator does."""
    rotate = getattr(sys.modules[type(model).__module__], _ROTARY, None)
    embeddings = _rotary(model)
    if rotate is None or len(embeddings) != 1:
        return None
    half = head_dim // 2
    positions = torch.arange(context)[None]
    generator = torch.Generator().manual_seed(0)
    query, key = (torch.randn(1, 1, context, head_dim, generator=generator) for _ in range(2))
    try:
        with torch.no_grad():
            cos, sin = embeddings[0](query, positions)
            rotated = rotate(query, key, cos, sin)
    except (TypeError, ValueError, RuntimeError, IndexError):  # it takes something else, or a part of a head
        return None
    if cos.shape != (1, context, head_dim) or len(rotated) != 2:
        return None
    cos, sin = (table[0, :, :half].float() for table in (cos, sin))
    for states, other in zip((query, key), rotated, strict=True):
        first, second = states[..., :half], states[..., half:]
        expected = torch.cat((first * cos - second * sin, second * cos + first * sin), -1)
        if other.shape != states.shape or not torch.allclose(other, expected, rtol=_ALIKE, atol=_ALIKE):
            return None
    return [cos.contiguous(), sin.contiguous()]
