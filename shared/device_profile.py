"""What a device can do for a draft: measured there by `sled-node profile`, or one of the built-in estimates (docs/devices.md)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from shared.errors import ProtocolError, SettingsError
from shared.fields import Check, integer, number
from shared.json_object import json_object
from shared.manifest import is_name
from shared.settings import shown
from shared.text_file import read_text, read_toml

BITS = (2, 4, 8)
FORMAT = 1
THREADS = 2  # of a built-in device, that draft: as many as ONNX Runtime gets for a large graph
ALWAYS = (4, 8)  # bits that every version of ONNX Runtime multiplies by
_MOST_BYTES = 4096  # of a file
_MOST = 2**50
_BUILT_IN = Path(__file__).parent / "devices.toml"
_WHAT = "the device profile"
_FLOAT = 4  # bytes
_BLOCK = 32  # weights with a scale


@dataclass(frozen=True)
class DeviceProfile:
    """What of a device decides which draft suits it."""

    name: str
    memory: int
    """Bytes that are free for a draft."""
    disk: int
    """Bytes that are free where drafts are kept."""
    link: float
    """Bytes a second from the broker to the device."""
    bandwidth: float
    """Bytes a second that are read from memory."""
    weights_per_s: Mapping[int, float]
    """Weights a second by which one token is multiplied, by bits: 4, 8, and 2 where the device's ONNX Runtime knows them."""
    layer_s: float
    """Seconds that a layer takes besides its weights."""


def built_in_profiles() -> tuple[str, ...]:
    """The names of the built-in profiles."""
    return tuple(_built_in())


def read_profile(name_or_file: str) -> DeviceProfile:
    """The built-in profile of that name, or the one in a file that `sled-node profile --out` has written. Raises SettingsError."""
    if name_or_file in _built_in():
        return _built_in()[name_or_file]
    path = Path(name_or_file)
    if is_name(name_or_file) and not path.exists():
        raise SettingsError(
            f"there is no device profile {shown(name_or_file)}; name one of {', '.join(built_in_profiles())}, or a file "
            "that `sled-node profile --out FILE` has written on the device"
        )
    try:
        return from_json(read_text(path, _WHAT, SettingsError, most=_MOST_BYTES))
    except ProtocolError as error:
        raise SettingsError(f"{path}: {error}; measure the device anew with `sled-node profile --out FILE`") from None


def to_json(profile: DeviceProfile) -> dict[str, Any]:
    """The profile as a JSON object, which `read_profile` reads from a file."""
    rates = {str(bits): rate for bits, rate in profile.weights_per_s.items()}
    return {"format": FORMAT} | {key: getattr(profile, key) for key in _CHECKS} | {"weights_per_s": rates}


def from_json(text: str) -> DeviceProfile:
    """The way back. Raises ProtocolError for what is missing, unknown, no number or out of range."""
    told = json_object(text.encode(), _WHAT)
    if told.pop("format", None) != FORMAT:
        raise ProtocolError(f"{_WHAT} is not of format {FORMAT}")
    values = _checked(told, _CHECKS, tuple(_CHECKS), _WHAT)
    return DeviceProfile(**values)


def read_bytes(bits: int) -> float:
    """Bytes that are read for a weight in so many bits, its part of a block's scale and offset included."""
    with_offset = 1 + 8 / bits / _BLOCK
    return with_offset * (bits / 8 + _FLOAT / _BLOCK)


def roofline(bits: int, arithmetic: float, bandwidth: float, *, unpacked: bool = False) -> float:
    """Weights a second: what the cores multiply by (`arithmetic`), unless memory (`bandwidth`, bytes a second) brings less.

    A weight that is `unpacked` is also written to memory and read from there as a float32.
    """
    return min(arithmetic, bandwidth / (read_bytes(bits) + (2 * _FLOAT if unpacked else 0)))


@cache
def _built_in() -> dict[str, DeviceProfile]:
    devices = read_toml(_BUILT_IN, "the file of device profiles", SettingsError)
    return {name: _estimate(name, **facts) for name, facts in devices.items()}


def _estimate(
    name: str, *, clock: float, per_cycle: Mapping[str, float], unpacked: list[int], bandwidth: float, **others: Any
) -> DeviceProfile:
    rates = {
        int(bits): roofline(int(bits), THREADS * clock * weights, bandwidth, unpacked=int(bits) in unpacked)
        for bits, weights in per_cycle.items()
    }
    return DeviceProfile(name=name, bandwidth=bandwidth, weights_per_s=rates, **others)


def _name(value: Any) -> str:
    if type(value) is not str or not is_name(value):
        raise ValueError("must be a name of letters, digits, points, dashes and underscores")
    return value


def _rates(value: Any) -> dict[int, float]:
    if type(value) is not dict:
        raise ValueError("must be an object of numbers by bits")
    checks = dict.fromkeys(map(str, BITS), number(1, _MOST))
    return {int(bits): rate for bits, rate in _checked(value, checks, tuple(map(str, ALWAYS)), "weights_per_s").items()}


def _checked(told: dict[str, Any], checks: Mapping[str, Check], needed: tuple[str, ...], what: str) -> dict[str, Any]:
    """What was told, checked. Raises ProtocolError."""
    unknown = [key for key in told if key not in checks]
    missing = [key for key in needed if key not in told]
    if unknown:
        raise ProtocolError(f"{what} has no {shown(unknown[0])}")
    if missing:
        raise ProtocolError(f"{what} lacks {missing[0]!r}")
    found = {}
    for key, value in told.items():
        try:
            found[key] = checks[key](value)
        except ValueError as error:
            raise ProtocolError(f"{key!r} of {what} {error}") from None
    return found


_CHECKS: dict[str, Check] = {
    "name": _name,
    "memory": integer(0, _MOST),
    "disk": integer(0, _MOST),
    "link": number(1, _MOST),
    "bandwidth": number(1, _MOST),
    "weights_per_s": _rates,
    "layer_s": number(0, 1),
}
