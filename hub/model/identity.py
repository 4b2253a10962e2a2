"""What the bits of a target's logits depend on: its weights, and the processor and the libraries that compute with them.

Hubs of which `bits_of` says the same give a text the same logits to the last bit, as far as their targets are exact at all.
"""

from __future__ import annotations

import hashlib
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from hub.tensor_file import fingerprint

_MOST = 256  # characters of what `bits_of` says
_NAMED = 60  # characters of a processor's name
_DIGITS_OF_WEIGHTS = 16  # hexadecimal digits of the hash of a model: a file may be known by it
_DIGITS = 8  # hexadecimal digits of a hash
_SETS = ("avx", "amx", "fma", "f16c", "sve", "sme", "asimd", "bf16", "i8mm")  # beginnings of instruction sets' names
_CHOICES = ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA", "MKL_CBWR", "MKL_ENABLE_INSTRUCTIONS")  # what libraries heed


def bits_of(weights: str, device: torch.device, order: str, *, exact: bool) -> str:
    """What the bits of logits depend on, as text of at most 256 characters for people, which is to be compared as a whole.

    `weights` is what `weights_hash` gave, and `order` says in which order sums are taken. On a CPU the number of torch's threads is part of it: call it once that is set.
    """
    computing = _gpu(device) if device.type == "cuda" else _cpu()
    libraries = [f"{name} {_version(name)}" for name in ("transformers", "sled-mqtt")]
    parts = [f"weights {weights}", *computing, order, f"torch {torch.__version__}", *libraries]
    return " · ".join(parts if exact else ["not batch-invariant", *parts])[:_MOST]


def weights_hash(model: Any) -> str:
    """A short hash of the `config.json` of a model that was loaded from a folder, and of all its weights, which lie on the CPU.

    Of a tensor it takes sums of its words, which cost a fraction of a SHA-256. That tells checkpoints apart which differ by
    training or by mistake, and is no protection against somebody who wants them to look alike.
    """
    digest = hashlib.sha256(Path(model.name_or_path, "config.json").read_bytes())
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {fingerprint(tensor)}\n".encode())
    return digest.hexdigest()[:_DIGITS_OF_WEIGHTS]


def short_hash(content: bytes) -> str:
    """For people to compare."""
    return hashlib.sha256(content).hexdigest()[:_DIGITS_OF_WEIGHTS]


def _gpu(device: torch.device) -> list[str]:
    return [
        torch.cuda.get_device_name(device)[:_NAMED],
        f"CUDA {torch.version.cuda}",
        f"triton {_version('triton')}",
    ]


def _cpu() -> list[str]:
    """The processor, as libraries look at it when they choose how to multiply, and the number of threads."""
    threads = torch.get_num_threads()
    try:
        facts = dict(_fact(line) for line in Path("/proc/cpuinfo").read_text(errors="replace").splitlines())
    except OSError:
        facts = {}
    name = facts.get("model name") or " ".join(facts.get(part, "") for part in ("CPU implementer", "CPU part")).strip()
    flags = (facts.get("flags") or facts.get("Features") or "").split()
    heeded = [f"{choice}={os.environ[choice]}" for choice in _CHOICES if choice in os.environ]
    sets = " ".join(sorted(flag for flag in flags if flag.startswith(_SETS)) + heeded)
    return [
        (name or platform.processor() or platform.machine())[:_NAMED],
        f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()} {hashlib.sha256(sets.encode()).hexdigest()[:_DIGITS]}",
        f"{threads} thread{'s' if threads > 1 else ''}",
    ]


def _fact(line: str) -> tuple[str, str]:
    name, _, value = line.partition(":")
    return name.strip(), value.strip()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "absent"
