"""Pages on disk, from one hub to the next: the beginnings that several nodes had in common.

A system message is computed once in a hub's life, and is so at every start. Of the pages that nodes found others to have computed, the last found are
written when the hub ends, with their keys, into one file for each order of bits; a hub that computes otherwise has no use for them.
Pages that one node alone had, as those of a chat, are not written.
"""

from __future__ import annotations

import logging
from hashlib import blake2b
from pathlib import Path

import torch

from hub.kv.kv_cache import KVCache
from hub.kv.pages import PagePool
from hub.tensor_file import TensorFile

log = logging.getLogger(__name__)

_FORMAT = 1  # the version of what is in a file, which is part of its name
_KEYS, _PAGES = "keys", "pages"
_MOST_BYTES = 2**28  # of K/V in a file
_MOST_SHARE = 0.5  # of a hub's pages that are read at most
_MOST_FILES = 4


class KeptPages:
    """The file of one hub's pages."""

    def __init__(self, folder: Path | None, bits: str, pool: PagePool, cache: KVCache) -> None:
        """`bits` is what the bits of logits depend on. Without a folder nothing is kept."""
        self._pool, self._cache = pool, cache
        size = "x".join(map(str, cache.page(0).shape))
        name = blake2b(f"{_FORMAT} {bits} {cache.dtype} {size}".encode(), digest_size=12).hexdigest()
        self._file = TensorFile(folder, name, _MOST_FILES)

    def load(self) -> int:
        """Let sessions find the pages of the file; their number."""
        tensors = self._file.read()
        if not tensors:
            return 0
        keys, pages = tensors.get(_KEYS), tensors.get(_PAGES)
        size = self._cache.page(0)
        if (
            keys is None or pages is None or keys.dtype is not torch.uint8 or keys.ndim != 2
            or pages.shape != (len(keys), *size.shape) or pages.dtype is not size.dtype
        ):  # fmt: skip
            log.warning("pages of an earlier hub are of another form, and not read")
            return 0
        count = min(len(keys), int(self._pool.count * _MOST_SHARE))
        table = [self._pool.take() for _ in range(count)]
        known = [bytes(key.tolist()) for key in keys[:count]]
        for page, key, kept in zip(table, known, pages[:count], strict=True):
            self._cache.page(page).copy_(kept)
            self._pool.register(page, key, owner="")
        self._pool.found(known, by=None)
        self._pool.shrink(table, 0)  # the first pages of a text, which are the first here, are given away last
        return count

    def save(self) -> None:
        """Write the pages that were found last, as many as there is room for."""
        found = self._pool.last_found(_MOST_BYTES // self._cache.page(0).nbytes)
        if found:
            keys = torch.tensor([list(key) for key, _ in found], dtype=torch.uint8)
            pages = torch.stack([self._cache.page(page).cpu() for _, page in found])
            self._file.write({_KEYS: keys, _PAGES: pages})
