"""The formats of numbers that a hub serves in, by one word each: of its dtype, or int8."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import torch

from hub.model.device import pick_dtype
from hub.model.target import Target
from hub.settings import Weights, check_dtype

AnyTarget = TypeVar("AnyTarget", bound=Target)

INT8 = "int8"
_BESIDE_INT8 = "bfloat16"  # of all but the linear layers


@dataclass(frozen=True)
class NumberFormat:
    """float32, bfloat16, float16, or int8: linear layers in int8, and the rest in bfloat16. `rounded` says otherwise of the layers."""

    name: str
    rounded: Weights = Weights.AUTO

    def __post_init__(self) -> None:
        check_dtype(self.name, INT8)

    @property
    def dtype(self) -> str:
        """Of what is not rounded to int8."""
        return _BESIDE_INT8 if self.name == INT8 else self.name

    @property
    def weights(self) -> Weights:
        """Of the linear layers."""
        return Weights.INT8 if self.name == INT8 and self.rounded is Weights.AUTO else self.rounded

    @property
    def is_plain(self) -> bool:
        """Whether everything is in float32."""
        return self.name == "float32" and self.rounded is Weights.AUTO

    @property
    def hub_options(self) -> tuple[str, ...]:
        """By which a hub serves in it."""
        return "--dtype", self.dtype, "--weights", self.weights.value

    def load(self, kind: type[AnyTarget], checkpoint: str, device: torch.device, kv_memory: int) -> AnyTarget:
        """The checkpoint in this format, as a target of that kind, with room for `kv_memory` bytes of K/V. Raises SledError."""
        dtype = pick_dtype(self.dtype)
        return kind(checkpoint, device=device, dtype=dtype, weights=self.weights, kv_memory=kv_memory)
