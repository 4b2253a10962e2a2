"""Processor packages, by the kernel's powercap files: Intel's RAPL, which AMD's processors have too.

https://docs.kernel.org/power/powercap/powercap.html. As a rule only root may read `energy_uj`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from shared.energy.source import NoEnergy, number_in, word_in

_ROOT = Path("/sys/class/powercap")


@dataclass
class _Package:
    """A counter in microjoules, which begins anew at `most`."""

    file: Path
    most: int
    last: int
    total: int = 0

    def read(self) -> int:
        now = number_in(self.file)
        self.total += now - self.last if now >= self.last else now + self.most - self.last
        self.last = now
        return self.total


class Rapl:
    """All packages of the machine, without its memory, disks and losses."""

    name = "rapl"

    def __init__(self, root: Path = _ROOT) -> None:
        """Raises NoEnergy where there are no packages, or they can't be read."""
        zones = [zone for zone in sorted(root.glob("*-rapl:*")) if word_in(zone / "name").startswith("package")]
        if not zones:
            raise NoEnergy(f"{root} has no processor package")
        self._packages = [
            _Package(zone / "energy_uj", number_in(zone / "max_energy_range_uj"), number_in(zone / "energy_uj"))
            for zone in zones
        ]

    def joules(self) -> float:
        """Since it was made; to be asked every few minutes, as the counters begin anew. Raises NoEnergy."""
        return sum(package.read() for package in self._packages) / 1e6
