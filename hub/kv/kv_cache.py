"""The tensors behind the pages: K and V of every token slot."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence

import numpy as np
import torch

from hub.kv.pages import PAGE_SIZE

_SHARE_OF_GPU = 0.8


class KVCache:
    """K and V of every slot: per layer two tensors [pages + 1, PAGE_SIZE, kv_heads, head_dim]."""

    def __init__(
        self, layers: int, pages: int, kv_heads: int, head_dim: int, dtype: torch.dtype, device: torch.device
    ) -> None:
        shape = (pages + 1, PAGE_SIZE, kv_heads, head_dim)
        self.dtype = dtype
        self.device = device
        self.spare_slot = pages * PAGE_SIZE  # of a page that no session gets: K/V that nobody reads may go there
        self._both = _zeros((2, layers, *shape), dtype, device)
        self.keys: list[torch.Tensor] = list(self._both[0])
        self.values: list[torch.Tensor] = list(self._both[1])

    def write(self, layer: int, slots: torch.Tensor, keys: torch.Tensor, values: torch.Tensor) -> None:
        """Put K and V [tokens, kv_heads, head_dim] into `slots` [tokens]; slot s is token s % PAGE_SIZE of its page."""
        for cached, given in ((self.keys[layer], keys), (self.values[layer], values)):
            cached.flatten(0, 1).index_copy_(0, slots, given)

    def read(self, layer: int, pages: torch.Tensor, rows: int) -> tuple[torch.Tensor, torch.Tensor]:
        """K and V of `rows` rows with as many `pages` each, [rows, kv_heads, positions, head_dim]."""
        keys, values = (
            cached.index_select(0, pages).view(rows, -1, *cached.shape[2:]).transpose(1, 2)
            for cached in (self.keys[layer], self.values[layer])
        )
        return keys, values

    def page(self, page: int) -> torch.Tensor:
        """K and V of one page, [2, layers, PAGE_SIZE, kv_heads, head_dim]: a view."""
        return self._both[:, :, page]

    def copy_page(self, source: int, destination: int) -> None:
        """Copy K and V of one page to another."""
        self.page(destination).copy_(self.page(source))

    def clear(self, pages: Sequence[int]) -> None:
        """Make what the pages hold zero."""
        for page in pages:
            self.page(page).zero_()  # several times as fast as all at once

    @staticmethod
    def bytes_per_page(layers: int, kv_heads: int, head_dim: int, dtype: torch.dtype) -> int:
        """Memory of one page over all layers."""
        return 2 * layers * PAGE_SIZE * kv_heads * head_dim * dtype.itemsize


def default_kv_memory(device: torch.device) -> int:
    """Bytes for K/V where nobody says how many: most of what is free on a GPU, an eighth of the machine's memory beside a CPU."""
    return int(_SHARE_OF_GPU * free_memory(device)) if device.type == "cuda" else free_memory(device) // 8


def free_memory(device: torch.device) -> int:
    """Bytes that K/V could have at most: what is free on a GPU, all of the machine's beside a CPU."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _zeros(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    if device.type != "cpu":
        return torch.zeros(shape, dtype=dtype, device=device)
    # numpy leaves it to the system to clear memory when it is first touched; what no session uses then costs nothing.
    return torch.from_numpy(np.zeros(math.prod(shape) * dtype.itemsize, dtype=np.uint8)).view(dtype).view(shape)
