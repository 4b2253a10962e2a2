"""Tensors in a file, from one hub to the next: what takes longer to compute than to read.

A file is mapped into memory, not read: several hubs on a machine share it. It is written whole or not at all, and known by a checksum.
"""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

log = logging.getLogger(__name__)

_SUFFIX = ".safetensors"
_SUMS = "sums"  # the name of the checksum in a file's header
_LEFT = 2**30  # bytes that must be free on the disk beside a new file
_WORD = 8  # bytes that are added up at a time


class TensorFile:
    """One file of a folder, in which at most `most` stay: those that were not used for longest go first."""

    def __init__(self, folder: Path | None, name: str, most: int) -> None:
        """`name` is without an ending. Without a folder nothing is kept."""
        self._folder = folder
        self._name = name + _SUFFIX
        self._most = most

    def read(self) -> dict[str, torch.Tensor]:
        """What was written; nothing where there is no file. A file that is damaged is removed."""
        if self._folder is None or not (path := self._folder / self._name).is_file():
            return {}
        try:
            with safe_open(path, "pt") as file:
                tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - it is no dict
                if (file.metadata() or {}).get(_SUMS) != checksum(tensors):
                    raise ValueError("its checksum is wrong")
            with suppress(OSError):
                os.utime(path)
        except (OSError, ValueError, SafetensorError) as error:
            log.warning("%s is removed: %s", path, error)
            with suppress(OSError):
                path.unlink()
            return {}
        return tensors

    def write(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Keep those tensors instead; where the disk does not take them that is logged."""
        if self._folder is None:
            return
        size = sum(tensor.nbytes for tensor in tensors.values())
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if shutil.disk_usage(self._folder).free < size + _LEFT:
                log.warning("%d MB are not kept: %s has no room for them", size >> 20, self._folder)
                return
            with tempfile.TemporaryDirectory(dir=self._folder, prefix=".") as unfinished:
                path = Path(unfinished) / self._name
                save_file(dict(tensors), path, {_SUMS: checksum(tensors)})
                path.replace(self._folder / self._name)
            files = [each for each in self._folder.iterdir() if each.name.endswith(_SUFFIX)]
            for old in sorted(files, key=lambda each: each.stat().st_mtime_ns, reverse=True)[self._most :]:
                old.unlink(missing_ok=True)
        except (OSError, SafetensorError) as error:
            log.warning("%d MB are not kept: %s", size >> 20, error)


def sum_of_words(tensor: torch.Tensor) -> int:
    """The bytes of a tensor on the CPU as words, added up: a checksum that costs a fraction of others."""
    octets = tensor.detach().contiguous().flatten().view(torch.uint8).numpy()
    whole = len(octets) // _WORD * _WORD
    return int(octets[:whole].view(np.uint64).sum(dtype=np.uint64)) + int(octets[whole:].sum(dtype=np.uint64))


def checksum(tensors: Mapping[str, torch.Tensor]) -> str:
    """Of tensors and their names."""
    return " ".join(f"{key}={sum_of_words(tensor):x}" for key, tensor in sorted(tensors.items()))
