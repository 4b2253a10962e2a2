"""Exports a causal LM to a draft graph for `edge_node/drafting/onnx_drafter.py`, through Optimum.

Each attention becomes one com.microsoft::GroupQueryAttention, which writes K/V into the buffers it reads, and
`hub/export/fuse.py` shortens the rest:

    input_ids int64 [1, tokens], seqlens_k int32 [1] (= total - 1), total_length int32 [],
    past_key_values.I.key/value float32 [1, kv_heads, capacity, head_dim]
    -> logits float32 [1, vocab] behind the last id, present.I.key/value like past

What does not fit that operator shows when the graph is compared with transformers. With 4 or 8 bits the graph that passed is
quantized (`hub/export/quantize.py`) and compared again; its head may be left with the ids that are frequent in a text
(`hub/export/head.py`). docs/draft.md has what that gains.
"""

from __future__ import annotations

import itertools
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
from optimum.utils import NormalizedTextConfig
from transformers import PreTrainedModel

from hub.export.device import device
from hub.export.difference import Difference, compare
from hub.export.fuse import fuse
from hub.export.head import shorten_head
from hub.export.quantize import quantize
from hub.export.rounded import MOST_BITS, QuantizeError
from hub.export.rounded_file import ROUNDED, grid_of, read_rounded
from hub.export.rounding import Grid, round_layers
from hub.export.smoothing import smooth
from hub.export.tracing import ATTENTION_NAME, DraftPatcher, ExportError
from hub.model.attention_tables import use_attention
from hub.model.checkpoint import load_checkpoint, rotary_limit
from hub.model.cpu import attention_shape
from hub.model.windows import windows_of
from shared.errors import brief

TOLERANCE = 1e-3  # largest difference of logits between the graph and transformers, both in float32
# Of a quantized graph beside the rounded model, which differ by the rounding of activations: root mean square of the error over that of the
# logits about their mean. Measured: 0.01 to 0.14; a graph that computes something else has 1 or more.
ROUNDING = 0.3
BITS = (2, 4, 8)  # that weights may have
_LARGEST_FILE = 2**31 - 2**24  # bytes: protobuf's limit, less the room for the graph itself


class _DraftConfig(OnnxConfig):  # type: ignore[misc]
    """The inputs and outputs of a draft graph; `facts` is what the drafter reads from its metadata, as sled.NAME."""

    NORMALIZED_CONFIG_CLASS = NormalizedTextConfig
    _MODEL_PATCHER = DraftPatcher

    def __init__(self, config: Any, context: int) -> None:
        super().__init__(config, task="text-generation")
        _, kv_heads, head_dim = attention_shape(config)
        self.facts = {
            "context": context,
            "layers": config.num_hidden_layers,
            "kv_heads": kv_heads,
            "head_dim": head_dim,
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


def _refuse_unfit(model: PreTrainedModel, context: int | None) -> None:
    """Raise ExportError for what is known beforehand not to fit; the comparison finds the rest."""
    name, longest = type(model).__name__, model.config.max_position_embeddings
    if any("experts" in f"{at} {type(module).__name__}".lower() for at, module in model.named_modules()):
        raise ExportError(f"{name} is a mixture of experts, which makes no draft; choose a dense model")
    if context is not None and context > longest:
        raise ExportError(f"{name} has a context of {longest}, not of {context}")


def export_draft(
    checkpoint: Path,
    out: Path,
    context: int | None = None,
    bits: int | None = None,
    head: Sequence[int] | None = None,
    *,
    texts: Sequence[Sequence[int]] = (),
    vocabulary_bits: int = MOST_BITS,
    on_layers: Callable[[int], Callable[[int], None]] = lambda _: lambda _: None,
) -> Difference:
    """Export the checkpoint in a folder to the draft graph `out`; return how far its logits are from transformers'.

    It is made for `context` positions, by default as many as a hub serves of the model, in float32 or with weights of 2, 4 or 8 `bits`, and
    drafts the ids in `head` alone, if that is given. Weights are rounded by what the model's layers are given for `texts` of ids, without any to
    the nearest; those that were rounded before (`hub/export/rounded_file.py`) stay as they are. Head and embedding get `vocabulary_bits` then. `on_layers` is told the number of layers, and what it gives is told of each that is done.

    Raises PairError for a checkpoint that is not whole, and ExportError, and leaves `out` as it was, when the model does not fit or the
    graph's logits are not those of the model: within TOLERANCE in float32, and then, of the rounded one, within ROUNDING of their spread.
    """
    if bits is not None and bits not in BITS:
        raise ExportError(f"a draft graph has weights of 2, 4 or 8 bits or, by default, float32; not of {bits} bits")
    model: Any = load_checkpoint(checkpoint, dtype=torch.float32, attention=ATTENTION_NAME, refuse=windows_of)
    use_attention(model, "eager")
    _refuse_unfit(model, context)
    longest = model.config.max_position_embeddings
    config = _DraftConfig(model.config, context or min(longest, rotary_limit(model.config) or longest))
    learnt = checkpoint / ROUNDED
    if learnt.exists():
        grid: Grid | None = grid_of(read_rounded(learnt))
    else:
        grid = None if bits is None else _rounded(model, bits, texts, on_layers(model.config.num_hidden_layers))
    if grid is not None:
        smooth(model, (), texts, head=True)
    with tempfile.TemporaryDirectory(dir=out.parent) as folder, device() as on_device:
        path = Path(folder) / out.name
        _trace(model, config, path)
        graph = onnx.load(path)
        fuse(graph)
        if head is not None:
            shorten_head(graph, head)
        onnx.helper.set_model_props(graph, {f"sled.{name}": str(number) for name, number in config.facts.items()})
        _save(graph, path)
        measure = partial(compare, on_device, path, model, range(model.config.vocab_size) if head is None else head)
        if not (difference := measure()).largest <= TOLERANCE:  # so also of a NaN
            raise ExportError(f"the graph's logits differ from those of transformers by {difference.largest:.2g}")
        if grid is None:
            _refuse_large(graph)
        else:
            difference = _quantize(graph, grid, vocabulary_bits, path, measure)
        path.replace(out)
    return difference


def _trace(model: Any, config: _DraftConfig, path: Path) -> None:
    """Write the graph as Optimum exports it. Raises ExportError for a model that can't be traced."""
    with warnings.catch_warnings():
        # The exporter under Optimum warns that it is old, and of every shape that is read while tracing.
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", torch.jit.TracerWarning)  # type: ignore[attr-defined]
        try:
            export(model, config, path, disable_dynamic_axes_fix=True)
        except ExportError as error:
            raise ExportError(f"{type(model).__name__} makes no draft: {error}") from None
        except Exception as error:
            # Architectures fail in many ways over what they are not made for.
            said = brief(error)
            raise ExportError(f"{type(model).__name__} can't be traced into a draft graph ({said})") from error


def _save(graph: onnx.ModelProto, path: Path) -> None:
    """Write the graph, its tensors in a file beside it where they are more than one may hold."""
    if _size(graph) <= _LARGEST_FILE:
        onnx.save(graph, path)
        return
    onnx.save(graph, path, save_as_external_data=True, location=f"{path.name}.data")
    onnx.load_external_data_for_model(graph, str(path.parent))


def _refuse_large(graph: onnx.ModelProto) -> None:
    """Raise ExportError for a draft that does not fit one file, as devices fetch it."""
    if (size := _size(graph)) > _LARGEST_FILE:
        raise ExportError(
            f"the draft would have {size / 1e9:.1f} GB, and its file may have {_LARGEST_FILE / 1e9:.1f}; give --bits, fewer of them, or choose a smaller model"
        )


def _size(graph: onnx.ModelProto) -> int:
    """Bytes of the graph's tensors."""
    return sum(len(tensor.raw_data) for tensor in graph.graph.initializer)


def _rounded(model: Any, bits: int, texts: Sequence[Sequence[int]], on_layer: Callable[[int], None]) -> Grid:
    try:
        return round_layers(model, [bits] * model.config.num_hidden_layers, texts, lambda: on_layer(1))
    except QuantizeError as error:
        raise ExportError(str(error)) from None


def _quantize(
    graph: onnx.ModelProto, grid: Grid, vocabulary_bits: int, path: Path, measure: Callable[[], Difference]
) -> Difference:
    """Overwrite the float32 graph at `path` with `graph` in the bits of the grid, and compare. Raises ExportError."""
    try:
        quantize(graph, grid, vocabulary_bits)
    except QuantizeError as error:
        raise ExportError(str(error)) from None
    _refuse_large(graph)
    onnx.save(graph, path)
    if not (difference := measure()).relative <= ROUNDING:
        raise ExportError(f"with rounded activations the logits are off by {difference.relative:.0%} of their spread")
    return difference
