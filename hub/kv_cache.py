"""The tensors behind the pages: K and V of every token slot."""

from __future__ import annotations

import torch

from hub.pages import PAGE_SIZE


class KVCache:
    """K and V of every slot: per layer two tensors [slots, kv_heads, head_dim]."""

    def __init__(
        self, layers: int, slots: int, kv_heads: int, head_dim: int, dtype: torch.dtype, device: torch.device
    ) -> None:
        shape = (slots, kv_heads, head_dim)
        self.keys = [torch.zeros(shape, dtype=dtype, device=device) for _ in range(layers)]
        self.values = [torch.zeros(shape, dtype=dtype, device=device) for _ in range(layers)]

    def copy_page(self, source: int, destination: int) -> None:
        """Copy K and V of one page's slots to another's."""
        kept, written = (slice(page * PAGE_SIZE, (page + 1) * PAGE_SIZE) for page in (source, destination))
        for tensor in (*self.keys, *self.values):
            tensor[written] = tensor[kept]

    @staticmethod
    def bytes_per_slot(layers: int, kv_heads: int, head_dim: int, dtype: torch.dtype) -> int:
        """Memory of one token slot over all layers."""
        return 2 * layers * kv_heads * head_dim * dtype.itemsize
