"""A Raspberry Pi 5's own power, by its power chip: `vcgencmd pmic_read_adc` tells volts and amperes of each rail.

The chip does not see what it takes itself, what USB devices take, or what is lost on the way from the plug.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable

from shared.energy.source import NoEnergy, OfWatts

_COMMAND = ("vcgencmd", "pmic_read_adc")
_LINE = re.compile(r"^\s*(\w+)_([AV])\s+(?:current|volt)\(\d+\)=(\d+(?:\.\d+)?)[AV]\s*$", re.MULTILINE)
_PAUSE_S = 1.0  # seconds; a program is started for each look
_LONGEST_S = 2.0


def pi(told: Callable[[], str] | None = None) -> OfWatts:
    """The rails of a Pi 5 together; `told` gives what the command prints. Raises NoEnergy on another machine."""
    return OfWatts("pmic", lambda: watts_in((told or _asked)()), _PAUSE_S)


def watts_in(told: str) -> float:
    """The sum of volts times amperes over the rails that have both. Raises NoEnergy where none has."""
    values = {(rail, unit): float(value) for rail, unit, value in _LINE.findall(told)}
    products = [
        amperes * values[rail, "V"] for (rail, unit), amperes in values.items() if unit == "A" and (rail, "V") in values
    ]
    if not products:
        raise NoEnergy("vcgencmd tells no rail's volts and amperes")
    return sum(products)


def _asked() -> str:
    try:
        done = subprocess.run(  # noqa: S603 - no part of it is from elsewhere
            _COMMAND, capture_output=True, text=True, timeout=_LONGEST_S, check=True
        )
    except FileNotFoundError:
        raise NoEnergy("there is no vcgencmd") from None
    except (OSError, subprocess.SubprocessError) as error:
        raise NoEnergy(f"vcgencmd: {error}") from None
    return done.stdout
