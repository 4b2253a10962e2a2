"""Rounded weights in a file, from start to start: rounding takes longer than reading.

A file is mapped into memory, not read: several hubs on a machine share it, and what is packed once is given back to the kernel.
"""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from hub.model.identity import sum_of_words
from hub.model.int8 import Parts

log = logging.getLogger(__name__)

_FORMAT = 1  # the version of what is in a file, which is part of its name
_SUFFIX = ".safetensors"
_SUMS = "sums"  # the name of a file's checksum in its header
_MOST_FILES = 3  # in the folder: those that were not used for longest go first
_LEFT = 2**30  # bytes that must be free on the disk beside a new file


class RoundedFile:
    """The file of one model and one way to round it."""

    def __init__(self, folder: Path | None, name: str) -> None:
        """`name` is the file's in `folder`, without its ending. Without a folder nothing is kept."""
        self._folder = folder
        self._name = f"{name}-{_FORMAT}{_SUFFIX}"

    def read(self) -> dict[str, Parts]:
        """What was written, by the layers' names; nothing where there is no file. A file that is damaged is removed."""
        if self._folder is None or not (path := self._folder / self._name).is_file():
            return {}
        try:
            with safe_open(path, "pt") as file:
                tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - it is no dict
                if (file.metadata() or {}).get(_SUMS) != _sums(tensors):
                    raise ValueError("its checksum is wrong")
            with suppress(OSError):
                os.utime(path)
        except (OSError, ValueError, SafetensorError) as error:
            log.warning("%s is removed, and its weights are rounded again: %s", path, error)
            with suppress(OSError):
                path.unlink()
            return {}
        layers: dict[str, Parts] = {}
        for key, tensor in tensors.items():
            layer, _, part = key.rpartition(":")
            layers.setdefault(layer, {})[part] = tensor
        return layers

    def write(self, layers: Mapping[str, Parts]) -> None:
        """Keep those layers, all of a model's; where the disk does not take them that is logged."""
        if self._folder is None:
            return
        tensors = {f"{layer}:{part}": tensor for layer, parts in layers.items() for part, tensor in parts.items()}
        size = sum(tensor.nbytes for tensor in tensors.values())
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if shutil.disk_usage(self._folder).free < size + _LEFT:
                log.warning("rounded weights are not kept: %s has no room for %d MB", self._folder, size >> 20)
                return
            with tempfile.TemporaryDirectory(dir=self._folder, prefix=".") as unfinished:
                path = Path(unfinished) / self._name
                save_file(tensors, path, {_SUMS: _sums(tensors)})
                path.replace(self._folder / self._name)
            self._tidy(self._folder)
        except (OSError, SafetensorError) as error:
            log.warning("rounded weights are not kept: %s", error)

    @staticmethod
    def _tidy(folder: Path) -> None:
        files = [each for each in folder.iterdir() if each.name.endswith(_SUFFIX)]
        for path in sorted(files, key=lambda each: each.stat().st_mtime_ns, reverse=True)[_MOST_FILES:]:
            path.unlink(missing_ok=True)


def _sums(tensors: Parts) -> str:
    return " ".join(f"{key}={sum_of_words(tensor):x}" for key, tensor in sorted(tensors.items()))
