"""Attention functions for architectures that know none: they pick a class from a table of their own by the function's name.

In transformers 4 these are StableLM, Qwen2-MoE, OLMoE, Nemotron, GPT-J and others, in 5 a few. Their class for torch's
scaled_dot_product_attention makes query, key and value as any, so a class that puts our function in that one's place is all that lacks.
What such a class adds to softmax by a mask, positions by ALiBi for instance, is lost so; the check of the target's logits finds it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from transformers import AttentionInterface
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING

_TABLE = "ATTENTION_CLASSES"  # the end of such a table's name
_PLAIN = ("eager", "sdpa")
_TORCHS = torch.nn.functional.scaled_dot_product_attention  # exporters put their own in its place, which calls it


def add_to_tables(config: Any, name: str) -> None:
    """Make the attention function `name` known to the architecture of `config`, where it has a table."""
    for table in _tables(config):
        if name not in table and "sdpa" in table:
            table[name] = _redirected(table["sdpa"])


def use_attention(model: Any, name: str) -> None:
    """Have the model attend by the function `name`. Raises what transformers does for one that the architecture can't have."""
    model.set_attn_implementation(name)
    if any(_tables(model.config)):
        # transformers leaves these as they are; the class from the table reads what the configuration says.
        model.config._attn_implementation = name  # noqa: SLF001


def _tables(config: Any) -> Iterator[MutableMapping[str, Any]]:
    module = sys.modules[MODEL_FOR_CAUSAL_LM_MAPPING[type(config)].__module__]
    return (table for name, table in vars(module).items() if name.endswith(_TABLE) and isinstance(table, dict))


def _redirected(attention: type) -> type:
    """A class like `attention` that attends by the function that its configuration names."""

    def forward(self: Any, *inputs: Any, **more: Any) -> Any:
        plain: Callable[..., Any] = attention.forward  # type: ignore[attr-defined]
        if self.config._attn_implementation in _PLAIN:  # noqa: SLF001 - where transformers keeps the name
            return plain(self, *inputs, **more)
        with _Redirection(self):
            return plain(self, *inputs, **more)

    return type(f"Redirected{attention.__name__}", (attention,), {"forward": forward})


class _Redirection(TorchFunctionMode):
    """While active, torch's attention is the attention function that a module's configuration names."""

    def __init__(self, module: Any) -> None:
        super().__init__()
        self._module = module
        self._attend = AttentionInterface()[module.config._attn_implementation]  # noqa: SLF001

    def __torch_function__(
        self, function: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if function is not _TORCHS:
            return function(*args, **kwargs or {})
        given = dict(zip(("query", "key", "value"), args, strict=False)) | dict(kwargs or {})
        query, key, value = (given[name] for name in ("query", "key", "value"))
        # K/V heads were repeated, once for each query head.
        heads = getattr(self._module.config, "num_key_value_heads", None) or key.shape[1]
        repeated = int(key.shape[1]) // heads
        key, value = key[:, ::repeated], value[:, ::repeated]
        attended, _ = self._attend(self._module, query, key, value, None, scaling=given.get("scale"))
        return attended.reshape(1, -1, query.shape[1], query.shape[3]).transpose(1, 2)
