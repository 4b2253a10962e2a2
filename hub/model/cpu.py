"""A loaded model made for a CPU: layers that it computes fast, and bits of a row that do not depend on the batch."""

from __future__ import annotations

import zlib
from typing import Any

import torch

from hub.kv.kv_cache import free_memory
from hub.model.activations import replace_activations
from hub.model.groups import Padding
from hub.model.int8 import IntegerLinear
from hub.model.linear import CpuLinear, has_arithmetic, linear_bytes, replace_linear
from hub.model.packing import pack_layers
from hub.model.row_bits import attention_padding, settle_tiles
from hub.settings import Exact

_SHARE = 0.5  # of the machine's memory, at most, for weights that are held in float32, or in int8 beside 4 bits


def fit_to_cpu(model: Any, exact: Exact) -> None:
    """Replace or pack the model's linear layers, and replace its activation functions where a row's bits are to be its own."""
    wholes = [module for module in model.modules() if isinstance(module, IntegerLinear)]
    pack_layers(wholes, int(_SHARE * free_memory(torch.device("cpu"))))
    dtype = _computed_in(model, exact)
    replace_linear(model, lambda linear: CpuLinear(linear, dtype))
    if exact is not Exact.OFF:
        replace_activations(model)


def settle_bits(model: Any, exact: Exact, context: int) -> Padding | None:
    """Make a row's bits its own, by the number of threads that torch has now; the padding of attention, or None where it can't be had.

    `context` is the longest text in ids.
    """
    heads, kv_heads, head_dim = attention_shape(model.config)
    layers = [module for module in model.modules() if isinstance(module, CpuLinear)]
    settled = settle_tiles(layers, slow=exact is Exact.ALWAYS) and not _multiplies_elsewhere(model)
    return attention_padding(heads, kv_heads, head_dim, model.dtype, context) if settled else None


def order_of(model: Any, padding: Padding) -> str:
    """What the order of a fitted model's sums depends on, in short: the type it multiplies in, and a number for how."""
    layers = [module for module in model.modules() if isinstance(module, CpuLinear)]
    dtypes = sorted({str(layer.dtype).removeprefix("torch.") for layer in layers})
    dtypes += sorted({module.name for module in model.modules() if isinstance(module, IntegerLinear)})
    how = repr(([layer.tiles for layer in layers], padding)).encode()
    return f"{' '.join(dtypes)} products {zlib.crc32(how):08x}"


def attention_shape(config: Any) -> tuple[int, int, int]:
    """Heads, K/V heads, and numbers of a head."""
    heads = config.num_attention_heads
    kv_heads = getattr(config, "num_key_value_heads", None) or heads
    return heads, kv_heads, getattr(config, "head_dim", None) or config.hidden_size // heads


def _multiplies_elsewhere(model: Any) -> bool:
    """Whether the model has matrices beside its layers', as the experts of some architectures are: torch multiplies by those.

    Tables of embeddings and the scales of norms, which may be one for each head, are none.
    """
    others = [
        each for each in model.modules() if isinstance(each, torch.nn.Embedding) or type(each).__name__.endswith("Norm")
    ]
    known = {id(parameter) for each in others for parameter in each.parameters(recurse=False)}
    return any(parameter.ndim > 1 and id(parameter) not in known for parameter in model.parameters())


def _computed_in(model: Any, exact: Exact) -> torch.dtype:
    """The type that linear layers multiply in: float32 where a CPU does that with other types anyway, and has room for it."""
    dtype: torch.dtype = model.dtype
    if exact is Exact.OFF or has_arithmetic(dtype):
        return dtype
    wide = linear_bytes(model) * torch.float32.itemsize // dtype.itemsize
    return torch.float32 if wide < _SHARE * free_memory(torch.device("cpu")) else dtype
