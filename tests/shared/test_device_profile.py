"""Device profiles: the built-in ones, files, and what is no profile."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from shared.device_profile import DeviceProfile, built_in_profiles, read_bytes, read_profile, roofline, to_json
from shared.errors import SettingsError

KITCHEN = DeviceProfile("kitchen", 2_000_000_000, 9_000_000_000, 3e6, 5e9, {2: 3e9, 4: 2e9, 8: 1e9}, 2e-6)
TOLD = to_json(KITCHEN)


def test_a_file_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "kitchen.json"
    path.write_text(json.dumps(TOLD))
    assert read_profile(str(path)) == KITCHEN


def test_bits_that_a_device_does_not_know_may_be_missing(tmp_path: Path) -> None:
    path = tmp_path / "kitchen.json"
    path.write_text(json.dumps(TOLD | {"weights_per_s": {"4": 2e9, "8": 1e9}}))
    assert read_profile(str(path)).weights_per_s == {4: 2e9, 8: 1e9}


def test_the_built_in_ones_can_be_written_and_read(tmp_path: Path) -> None:
    assert built_in_profiles() == ("pi4", "pi5", "orin-nano")
    for name in built_in_profiles():
        profile = read_profile(name)
        assert profile.name == name
        path = tmp_path / "copy.json"
        path.write_text(json.dumps(to_json(profile)))
        assert read_profile(str(path)) == profile


def test_the_roofline_is_the_lower_of_two_roofs() -> None:
    assert (
        read_bytes(4) == (0.5 + 4 / 32) * 34 / 32
    )  # a block of 32 has a scale of 4 bytes, and an offset of two numbers
    assert read_bytes(8) == (1 + 4 / 32) * 33 / 32  # in 8 bits of one
    assert roofline(8, 1e9, 1e12) == 1e9
    assert roofline(8, 1e12, 18.5625e9) == pytest.approx(16e9)
    assert roofline(8, 1e12, 9.16015625e9, unpacked=True) == pytest.approx(1e9)


def test_a_pi_4_without_dot_products_is_best_in_4_bits() -> None:
    rates = read_profile("pi4").weights_per_s
    assert rates[4] > 2 * rates[8]
    assert read_profile("pi5").weights_per_s[8] > 5 * rates[8]
    assert 2 not in read_profile("orin-nano").weights_per_s


def without(key: str) -> dict[str, Any]:
    return {other: value for other, value in TOLD.items() if other != key}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (TOLD | {"link": float("nan")}, "'link' of the device profile must be a number from 1 to"),
        (TOLD | {"bandwidth": float("inf")}, "'bandwidth' of the device profile must be a number"),
        (TOLD | {"bandwidth": 0}, "'bandwidth' of the device profile must be a number"),
        (TOLD | {"memory": -1}, "'memory' of the device profile must be a whole number from 0"),
        (TOLD | {"disk": 1.5}, "'disk' of the device profile must be a whole number"),
        (TOLD | {"disk": 10**30}, "'disk' of the device profile must be a whole number"),
        (TOLD | {"memory": True}, "'memory' of the device profile must be a whole number"),
        (TOLD | {"layer_s": -1e-6}, "'layer_s' of the device profile must be a number from 0 to 1"),
        (TOLD | {"layer_s": "fast"}, "'layer_s' of the device profile must be a number"),
        (TOLD | {"name": "../x"}, "'name' of the device profile must be a name"),
        (TOLD | {"weights_per_s": [1, 2]}, "must be an object of numbers by bits"),
        (TOLD | {"weights_per_s": {"4": 1e9}}, "weights_per_s lacks '8'"),
        (TOLD | {"weights_per_s": {"3": 1e9, "4": 1e9, "8": 1e9}}, "weights_per_s has no '3'"),
        (TOLD | {"weights_per_s": {"4": -1.0, "8": 1e9}}, "'4' of weights_per_s must be a number"),
        (TOLD | {"colour": "red"}, "the device profile has no 'colour'"),
        (TOLD | {"format": 2}, "is not of format 1"),
        (without("format"), "is not of format 1"),
        (without("layer_s"), "the device profile lacks 'layer_s'"),
        ([TOLD], "the device profile must be a JSON object"),
        ("no JSON", "the device profile must be JSON"),
        ('{"memory": ' + "9" * 4000 + "}", "is not of format 1"),
        ("[" * 4000, "the device profile must be JSON"),
        (" " * 5000, "is larger than 4096 bytes"),
        (b"\xff\xfe{}", "is not UTF-8 text"),
        ("", "the device profile must be JSON"),
    ],
)
def test_what_is_no_profile_is_refused(content: Any, says: str, tmp_path: Path) -> None:
    path = tmp_path / "profile.json"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        path.write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(SettingsError) as refused:
        read_profile(str(path))
    assert says in str(refused.value)
    assert str(path) in str(refused.value)


def test_a_name_that_nobody_knows_is_answered_with_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no device profile 'pi3'; name one of pi4, pi5, orin-nano, or a file"):
        read_profile("pi3")
    for folder in (str(tmp_path), ""):
        with pytest.raises(SettingsError, match="is a folder"):
            read_profile(folder)
    with pytest.raises(SettingsError, match="No such file"):
        read_profile(str(tmp_path / "nothing.json"))
    with pytest.raises(SettingsError, match="no file has such a name"):
        read_profile("a\0b")
