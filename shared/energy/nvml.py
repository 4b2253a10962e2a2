"""NVIDIA GPUs, by NVML: `nvmlDeviceGetTotalEnergyConsumption`, in millijoules since the driver was loaded."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Any

from shared.energy.source import NoEnergy


class Nvml:
    """All GPUs that the driver shows, whoever uses them."""

    name = "nvml"

    def __init__(self, library: Any = None) -> None:
        """`library` is the module pynvml. Raises NoEnergy without it, without a GPU, and for one that doesn't count (before Volta)."""
        if library is None and find_spec("pynvml") is None:
            raise NoEnergy("the package nvidia-ml-py is not installed")
        self._library: Any = library or import_module("pynvml")
        try:
            self._library.nvmlInit()
            count = self._library.nvmlDeviceGetCount()
            self._gpus = [self._library.nvmlDeviceGetHandleByIndex(number) for number in range(count)]
        except self._library.NVMLError as error:
            raise NoEnergy(f"NVML: {error}") from None
        if not self._gpus:
            raise NoEnergy("NVML shows no GPU")
        self._began = self._read()

    def joules(self) -> float:
        """Since it was made. Raises NoEnergy."""
        return (self._read() - self._began) / 1e3

    def _read(self) -> int:
        try:
            return sum(self._library.nvmlDeviceGetTotalEnergyConsumption(gpu) for gpu in self._gpus)
        except self._library.NVMLError as error:
            raise NoEnergy(f"NVML: {error}") from None
