"""Tensors in a file, from one hub to the next: what takes longer to compute than to read.

A file is mapped into memory, and written whole or not at all. Its checksum is for accidents: whoever can write into the folder, which is its owner's alone,
decides what is read.
"""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

log = logging.getLogger(__name__)

_SUFFIX = ".safetensors"
_SUMS = "sums"  # the name of the checksum in a file's header
_LEFT = 2**30  # bytes that must be free on the disk beside a new file
_UNFINISHED = ".unfinished-"  # how folders begin in which files are written
_ABANDONED_S = 3600.0  # seconds after which nobody writes into one any more
_WORD = 8  # bytes that are added up at a time
_ACROSS = 1024  # words of a line of sums
_DIGEST = 16  # bytes of a hash


class TensorFile:
    """One file of a folder, in which at most `most` stay: those that were not used for longest go first."""

    def __init__(self, folder: Path | None, name: str, most: int) -> None:
        """`name` is without an ending. Without a folder nothing is kept."""
        self._folder = folder
        self._name = name + _SUFFIX
        self._most = most

    def read(self) -> dict[str, torch.Tensor]:
        """What was written; nothing where there is no file. A file that is damaged is removed."""
        if self._folder is None:
            return {}
        path = self._folder / self._name
        try:
            with safe_open(path, "pt") as file:
                tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - it is no dict
                if (file.metadata() or {}).get(_SUMS) != checksum(tensors):
                    raise ValueError("its checksum is wrong")
            with suppress(OSError):
                os.utime(path)
        except (FileNotFoundError, NotADirectoryError):
            return {}
        except (ValueError, SafetensorError) as error:
            log.warning("%s is removed: %s", path, error)
            with suppress(OSError):
                path.unlink()
            return {}
        except (OSError, RuntimeError, MemoryError) as error:
            log.warning("%s is not read: %s", path, error)
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
            with tempfile.TemporaryDirectory(dir=self._folder, prefix=_UNFINISHED) as unfinished:
                path = Path(unfinished) / self._name
                save_file(dict(tensors), path, {_SUMS: checksum(tensors)})
                path.replace(self._folder / self._name)
            written_at = (self._folder / self._name).stat().st_mtime
            for left in self._folder.glob(_UNFINISHED + "*"):
                if left.stat().st_mtime < written_at - _ABANDONED_S:
                    shutil.rmtree(left, ignore_errors=True)  # of a program that was killed while it wrote
            files = [each for each in self._folder.iterdir() if each.name.endswith(_SUFFIX)]
            for old in sorted(files, key=lambda each: each.stat().st_mtime_ns, reverse=True)[self._most :]:
                old.unlink(missing_ok=True)
        except (OSError, RuntimeError, ValueError, MemoryError, SafetensorError) as error:
            log.warning("%d MB are not kept: %s", size >> 20, error)


def fingerprint(tensor: torch.Tensor) -> str:
    """A hash of what a tensor on the CPU holds, of sums of its words along and across: a tenth of the time of a hash of all bytes."""
    octets = tensor.detach().contiguous().flatten().view(torch.uint8).numpy()
    whole = len(octets) // (_WORD * _ACROSS) * (_WORD * _ACROSS)
    words = octets[:whole].view(np.uint64).reshape(-1, _ACROSS)
    digest = blake2b(f"{tensor.dtype} {tuple(tensor.shape)}".encode(), digest_size=_DIGEST)
    for part in (words.sum(0, dtype=np.uint64), words.sum(1, dtype=np.uint64), octets[whole:]):
        digest.update(part.tobytes())
    return digest.hexdigest()


def checksum(tensors: Mapping[str, torch.Tensor]) -> str:
    """Of tensors and their names."""
    told = " ".join(f"{key}={fingerprint(tensor)}" for key, tensor in sorted(tensors.items()))
    return blake2b(told.encode(), digest_size=_DIGEST).hexdigest()
