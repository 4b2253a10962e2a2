"""A Jetson's own power, by the monitor INA3221 on its board: volts and amperes of the rail that feeds all of it.

Files as in https://docs.kernel.org/hwmon/ina3221.html: `inN_label`, `inN_input` in mV, `currN_input` in mA.
"""

from __future__ import annotations

from pathlib import Path

from shared.energy.source import NoEnergy, OfWatts, number_in, word_in

_ROOT = Path("/sys/bus/i2c/drivers/ina3221")
_ALL_OF_IT = ("VDD_IN", "VIN_SYS_5V0", "POM_5V_IN", "SYS_VIN_HV")  # Orin Nano and NX, AGX Orin's supply, Nano, Xavier
_PAUSE_S = 0.25  # seconds


def jetson(root: Path = _ROOT) -> OfWatts:
    """The board's own power. Raises NoEnergy where there is no such monitor, or no rail that feeds all of it."""
    labels = {word_in(file): file for file in sorted(root.glob("*/hwmon/hwmon*/in[123]_label"))}
    if not labels:
        raise NoEnergy(f"{root} has no rails")
    found = next((labels[rail] for rail in _ALL_OF_IT if rail in labels), None)
    if found is None:
        raise NoEnergy(f"none of the rails {', '.join(sorted(labels))} is known to feed all of the board")
    number = found.name[len("in")]
    volts, amperes = found.with_name(f"in{number}_input"), found.with_name(f"curr{number}_input")
    return OfWatts("ina3221", lambda: number_in(volts) * number_in(amperes) / 1e6, _PAUSE_S)
