"""Where a target is computed, and in what type of numbers: by the words that settings have for them."""

from __future__ import annotations

import torch

from hub.settings import check_device, check_dtype
from shared.errors import SettingsError


def pick_device(wanted: str) -> torch.device:
    """The device for "auto" (cuda when present, else cpu) or a torch device name. Raises SettingsError."""
    if wanted == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    check_device(wanted)
    device = torch.device(wanted)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise SettingsError("torch finds no CUDA device here; use --device cpu, or install a CUDA build of torch")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise SettingsError(f"there is no device {wanted!r}; the last is cuda:{torch.cuda.device_count() - 1}")
    return device


def pick_dtype(name: str) -> torch.dtype:
    """The torch dtype called `name`. Raises SettingsError."""
    check_dtype(name)
    dtype: torch.dtype = getattr(torch, name)
    return dtype
