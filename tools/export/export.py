"""Exports a Llama-like causal LM to a draft graph for `edge_node.drafting.onnx_drafter`, through Optimum.

Each attention becomes one com.microsoft::GroupQueryAttention, which rotates and writes K/V into the buffers it reads, and
`tools.export.fuse` shortens the rest:

    input_ids int64 [1, tokens], seqlens_k int32 [1] (= total - 1), total_length int32 [],
    past_key_values.I.key/value float32 [1, kv_heads, capacity, head_dim]
    -> logits float32 [1, vocab] behind the last id, present.I.key/value like past

What does not fit that operator (another rotary rule, a bias on scores) shows when the graph is compared with transformers.
With 4 or 8 bits the graph that passed is quantized (`tools.export.quantize`) and compared again, with --head its head is left with the
ids that are frequent in a text (`tools.export.head`); docs/draft.md has what that gains.
"""

from __future__ import annotations

import itertools
import sys
import tempfile
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import onnx
import torch
from optimum.exporters.onnx import export
from optimum.exporters.onnx.base import OnnxConfig
from optimum.exporters.onnx.model_patcher import ModelPatcher, PatchingSpec
from optimum.utils import NormalizedTextConfig
from transformers import AttentionInterface, PretrainedConfig, PreTrainedModel

from hub.model.checkpoint import load_checkpoint
from shared.errors import SledError
from tools.export.difference import Difference, compare
from tools.export.fuse import ATTENTION, NORM, fuse
from tools.export.head import shorten_head
from tools.export.quantize import QuantizeError, quantize

TOLERANCE = 1e-3  # largest difference of logits between the graph and transformers, both in float32
# By bits, of a quantized graph's logits: root mean square of the error over that of the logits about their mean. Measured: int8
# 0.03 to 0.08 on models of 2 to 6 layers, 0.14 on 30 layers of random weights; a graph that computes something else has 1 or more.
TOLERANCES = {8: 0.2, 4: 0.7}
_ATTENTION = "sled_group_query"
_ROTARY = "apply_rotary_pos_emb"
_TABLES = ("rotary_cos", "rotary_sin")
_LARGEST_FILE = 2**31 - 2**20  # bytes: protobuf's limit, less the room for the graph itself


class ExportError(SledError):
    """A checkpoint cannot become a draft graph; the text says why."""


class _GroupQueryAttention(torch.autograd.Function):
    """The operator as the exporter sees it: tracing needs only the shapes of its outputs."""

    @staticmethod
    def forward(_: Any, query: torch.Tensor, *inputs: Any) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        return query.clone(), inputs[2].clone(), inputs[3].clone()

    @staticmethod
    def symbolic(g: Any, *inputs: Any) -> Any:
        *tensors, heads, kv_heads, scale = inputs
        attributes = {"num_heads_i": heads, "kv_num_heads_i": kv_heads, "scale_f": scale, "do_rotary_i": 1}
        outputs = g.op(f"com.microsoft::{ATTENTION}", *tensors, **attributes, outputs=3)
        for output, like in zip(outputs, (tensors[0], tensors[3], tensors[4]), strict=True):
            output.setType(like.type())
        return outputs


class _Head(torch.autograd.Function):
    """The LM head as Gemm(transB): it reads the weight as it is stored, so that a tied embedding is stored once."""

    @staticmethod
    def forward(_: Any, *tensors: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.linear(*tensors)

    @staticmethod
    def symbolic(g: Any, *tensors: Any) -> Any:
        return g.op("Gemm", *tensors, transB_i=1)


class _Norm(torch.autograd.Function):
    """An RMS norm as one operator; `tools.export.fuse` puts it where ONNX Runtime looks for it."""

    @staticmethod
    def forward(_: Any, hidden: torch.Tensor, weight: torch.Tensor, epsilon: float) -> torch.Tensor:
        return weight * hidden * torch.rsqrt(hidden.square().mean(-1, keepdim=True) + epsilon)

    @staticmethod
    def symbolic(g: Any, hidden: Any, weight: Any, epsilon: float) -> Any:
        output = g.op(f"com.microsoft::{NORM}", hidden, weight, axis_i=-1, epsilon_f=epsilon)
        output.setType(hidden.type())
        return output


def _attend(
    module: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, _: None, *, scaling: float, **given: Any
) -> tuple[torch.Tensor, None]:
    """Attend as transformers' attention interface asks; query is [1, heads, tokens, head_dim], not yet rotated.

    `given` is from the patched forward: `past` and `present` by layer; `rest`: seqlens_k, total_length, cos, sin.
    """
    heads, kv_heads = module.config.num_attention_heads, module.config.num_key_value_heads
    rows = [
        states.transpose(1, 2).reshape(1, -1, count * module.head_dim)
        for states, count in ((query, heads), (key, kv_heads), (value, kv_heads))
    ]
    inputs = (*rows, *given["past"][module.layer_idx], *given["rest"])
    output, *present = _GroupQueryAttention.apply(*inputs, heads, kv_heads, scaling)  # type: ignore[no-untyped-call]
    given["present"].append(tuple(present))
    return output, None


def _is_rms_norm(module: Any) -> bool:
    """Whether the module says that it is one; that it computes it shows in the comparison."""
    return hasattr(module, "variance_epsilon") and hasattr(module, "weight")


def _normalize(norm: Any, hidden: torch.Tensor) -> torch.Tensor:
    normalized: torch.Tensor = _Norm.apply(hidden, norm.weight, norm.variance_epsilon)  # type: ignore[no-untyped-call]
    return normalized


class _DraftPatcher(ModelPatcher):  # type: ignore[misc]
    """While active, the model's forward is the draft graph's."""

    def __init__(self, config: OnnxConfig, model: Any, **options: Any) -> None:
        super().__init__(config, model, **options)
        AttentionInterface.register(_ATTENTION, _attend)
        head = model.get_output_embeddings()
        project: Any = _Head.apply
        tensors = [tensor for tensor in (head.weight, head.bias) if tensor is not None]
        for o, name, new in (
            (sys.modules[type(model).__module__], _ROTARY, lambda query, key, *_, **__: (query, key)),
            (head, "forward", lambda hidden: project(hidden.reshape(-1, head.in_features), *tensors)),
            *((norm, "forward", partial(_normalize, norm)) for norm in filter(_is_rms_norm, model.modules())),
            (model.config, "_attn_implementation", _ATTENTION),
        ):
            self._patching_specs.append(PatchingSpec(o, name, new, getattr(o, name)))
        tables = model.get_decoder().rotary_emb(torch.zeros(1), torch.arange(config.facts["context"])[None])
        for name, table in zip(_TABLES, tables, strict=True):
            # A buffer becomes an initializer that all layers share; a constant would be copied into each.
            model.register_buffer(name, table[0, :, : table.shape[-1] // 2].contiguous())

        def forward(input_ids: Any, seqlens_k: Any, total_length: Any, past_key_values: Any) -> dict[str, Any]:
            rest = (seqlens_k, total_length, *(getattr(model, name) for name in _TABLES))
            given = {"past": past_key_values, "rest": rest, "present": []}
            logits = self.orig_forward(input_ids=input_ids, use_cache=False, logits_to_keep=1, **given).logits
            return {"logits": logits, "present": given["present"]}

        self.patched_forward = forward


class _DraftConfig(OnnxConfig):  # type: ignore[misc]
    """The inputs and outputs of a draft graph; `facts` is what the drafter reads from its metadata, as sled.NAME."""

    NORMALIZED_CONFIG_CLASS = NormalizedTextConfig
    _MODEL_PATCHER = _DraftPatcher

    def __init__(self, config: PretrainedConfig, context: int) -> None:
        super().__init__(config, task="text-generation")
        self.facts = {
            "context": context,
            "layers": config.num_hidden_layers,
            "kv_heads": config.num_key_value_heads,
            "head_dim": getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads,
            "vocab_size": config.vocab_size,
        }

    @property
    def inputs(self) -> dict[str, dict[int, str]]:
        return {"input_ids": {1: "tokens"}, "seqlens_k": {}, "total_length": {}, **self._caches("past_key_values")}

    @property
    def outputs(self) -> dict[str, dict[int, str]]:
        return {"logits": {}, **self._caches("present")}

    def _caches(self, name: str) -> dict[str, dict[int, str]]:
        parts = itertools.product(range(self.facts["layers"]), ("key", "value"))
        return {f"{name}.{layer}.{part}": {2: "capacity"} for layer, part in parts}

    def generate_dummy_inputs(self, **_: Any) -> dict[str, Any]:
        """Two new ids behind three held ones, in caches of eight positions."""
        cache = torch.zeros(1, self.facts["kv_heads"], 8, self.facts["head_dim"])
        return {
            "input_ids": torch.ones((1, 2), dtype=torch.int64),
            "seqlens_k": torch.tensor([4], dtype=torch.int32),
            "total_length": torch.tensor(5, dtype=torch.int32),
            "past_key_values": [(cache.clone(), cache.clone()) for _ in range(self.facts["layers"])],
        }


def _refuse_unfit(model: PreTrainedModel, context: int) -> None:
    """Raise ExportError for what is known beforehand not to fit; the comparison finds the rest."""
    name, size, longest = type(model).__name__, model.num_parameters(), model.config.max_position_embeddings
    window = getattr(model.config, "sliding_window", None) or longest
    if not hasattr(sys.modules[type(model).__module__], _ROTARY):
        raise ExportError(f"{name} has no {_ROTARY}: it is not Llama-like")
    if context > longest:
        raise ExportError(f"{name} has a context of {longest}, not of {context}")
    if window < context:
        raise ExportError(f"{name} has a sliding window of {window}: export it with --context {window} or less")
    if size * 4 > _LARGEST_FILE:
        raise ExportError(f"{name} has {size:,} parameters: in float32 they do not fit one ONNX file")


def export_draft(
    checkpoint: Path,
    out: Path,
    context: int | None = None,
    bits: int | None = None,
    head: Sequence[int] | None = None,
) -> Difference:
    """Export the checkpoint in a folder to the draft graph `out`; return how far its logits are from transformers'.

    It is made for `context` positions, the model's own number by default, in float32 or with weights of 4 or 8 `bits`, and
    drafts the ids in `head` alone, if that is given. Raises PairError for a checkpoint that is not whole, and ExportError, and leaves `out` as it was, when the model does not fit or the graph's logits are not those of
    transformers: within TOLERANCE in float32, and then within TOLERANCES of their spread when quantized.
    """
    if bits is not None and bits not in TOLERANCES:
        raise ExportError(f"a draft graph has weights of 4 or 8 bits or, by default, float32; not of {bits} bits")
    model: Any = load_checkpoint(checkpoint, dtype=torch.float32)
    _refuse_unfit(model, context := context or model.config.max_position_embeddings)
    config = _DraftConfig(model.config, context)
    with tempfile.TemporaryDirectory(dir=out.parent) as folder:
        path = Path(folder) / out.name
        with warnings.catch_warnings():
            # The exporter under Optimum warns that it is old, and of every shape that is read while tracing.
            warnings.simplefilter("ignore", DeprecationWarning)
            warnings.simplefilter("ignore", torch.jit.TracerWarning)  # type: ignore[attr-defined]
            export(model, config, path, disable_dynamic_axes_fix=True)
        graph = onnx.load(path)
        fuse(graph)
        if head is not None:
            shorten_head(graph, head)
        ids = range(model.config.vocab_size) if head is None else head
        onnx.helper.set_model_props(graph, {f"sled.{name}": str(number) for name, number in config.facts.items()})
        onnx.save(graph, path)
        if not (difference := compare(path, model, ids)).largest <= TOLERANCE:  # so also of a NaN
            raise ExportError(f"the graph's logits differ from those of transformers by {difference.largest:.2g}")
        if bits is not None:
            difference = _quantize(graph, bits, path, partial(compare, path, model, ids))
        path.replace(out)
    return difference


def _quantize(graph: onnx.ModelProto, bits: int, path: Path, measure: Callable[[], Difference]) -> Difference:
    """Overwrite the float32 graph at `path` with `graph` in that many bits, and compare. Raises ExportError."""
    try:
        quantize(graph, bits)
    except QuantizeError as error:
        raise ExportError(str(error)) from None
    onnx.save(graph, path)
    if not (difference := measure()).relative <= TOLERANCES[bits]:
        raise ExportError(f"in int{bits} the logits are off by {difference.relative:.0%} of their spread")
    return difference
