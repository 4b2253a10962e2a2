"""Meters over files as kernels write them, and over what programs of Raspberry Pi and NVIDIA tell."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pynvml
import pytest

from edge_node.rounds.cost import AnswerCost, Cost
from hub.energy import ForwardEnergy
from shared.energy.jetson import jetson
from shared.energy.meter import Known, Meter
from shared.energy.nvml import Nvml
from shared.energy.pi import pi, watts_in
from shared.energy.rapl import Rapl
from shared.energy.source import NoEnergy, OfWatts, Source
from tests.clock import Clock

MOST = 262_143_328_850  # max_energy_range_uj of a desktop processor's package
RAPL = {
    "intel-rapl/enabled": "1",
    "intel-rapl:0/name": "package-0",
    "intel-rapl:0/energy_uj": "1000000",
    "intel-rapl:0/max_energy_range_uj": str(MOST),
    "intel-rapl:0:0/name": "core",
    "intel-rapl:0:0/energy_uj": "700000",
    "intel-rapl:0:0/max_energy_range_uj": str(MOST),
    "intel-rapl:1/name": "psys",
    "intel-rapl:1/energy_uj": "9000000",
    "intel-rapl:1/max_energy_range_uj": str(MOST),
    "intel-rapl-mmio:0/name": "package-0",  # the same package once more
    "intel-rapl-mmio:0/energy_uj": "1000000",
    "intel-rapl-mmio:0/max_energy_range_uj": str(MOST),
}
ORIN_NANO = {
    "1-0040/hwmon/hwmon1/name": "ina3221",
    "1-0040/hwmon/hwmon1/in1_label": "VDD_IN",
    "1-0040/hwmon/hwmon1/in1_input": "5072",
    "1-0040/hwmon/hwmon1/curr1_input": "1184",
    "1-0040/hwmon/hwmon1/in2_label": "VDD_CPU_GPU_CV",
    "1-0040/hwmon/hwmon1/in2_input": "5072",
    "1-0040/hwmon/hwmon1/curr2_input": "96",
    "1-0040/hwmon/hwmon1/in7_label": "sum of shunt voltages",
}
PI_5 = """\
 3V7_WL_SW_A current(0)=0.10000000A
   3V3_SYS_A current(1)=0.05000000A
  VDD_CORE_A current(7)=2.00000000A
 3V7_WL_SW_V volt(8)=3.70000000V
   3V3_SYS_V volt(9)=3.30000000V
  VDD_CORE_V volt(15)=0.80000000V
   EXT5V_V volt(24)=5.10000000V
    BATT_V volt(25)=0.00000000V
"""


def tree(root: Path, files: dict[str, str]) -> Path:
    """The files, below `root`, each with the line's end that the kernel writes."""
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"{text}\n")
    return root


def test_packages_are_summed_and_parts_of_them_are_not(tmp_path: Path) -> None:
    root = tree(tmp_path, RAPL)
    source = Rapl(root)
    assert source.joules() == 0.0
    (root / "intel-rapl:0/energy_uj").write_text("4500000\n")
    (root / "intel-rapl:0:0/energy_uj").write_text("3000000\n")
    assert source.joules() == pytest.approx(3.5)


def test_a_counter_that_begins_anew_goes_on(tmp_path: Path) -> None:
    root = tree(tmp_path, RAPL | {"intel-rapl:0/energy_uj": str(MOST - 2_000_000)})
    source = Rapl(root)
    for now, joules in ((MOST - 1_000_000, 1.0), (500_000, 2.5), (1_500_000, 3.5)):
        (root / "intel-rapl:0/energy_uj").write_text(str(now))
        assert source.joules() == pytest.approx(joules)


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({}, "has no processor package"),
        ({"intel-rapl:0/name": "core"}, "has no processor package"),
        ({"intel-rapl:0/name": "package-0"}, "has no number"),
        (RAPL | {"intel-rapl:0/energy_uj": "many"}, "has no number"),
    ],
)
def test_without_packages_that_can_be_read_nothing_is_known(tmp_path: Path, files: dict[str, str], reason: str) -> None:
    with pytest.raises(NoEnergy, match=reason):
        Rapl(tree(tmp_path, files))


def test_who_may_not_read_a_counter_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(file: Path, mode: str = "r") -> Any:
        raise PermissionError(13, "Permission denied", str(file))

    root = tree(tmp_path, RAPL)
    monkeypatch.setattr(Path, "open", forbidden)
    monkeypatch.setattr("shared.energy.rapl.word_in", lambda _: "package-0")
    with pytest.raises(NoEnergy, match="may not be read by this user"):
        Rapl(root)


def test_a_jetsons_board_is_the_rail_that_feeds_all_of_it(tmp_path: Path) -> None:
    source = jetson(tree(tmp_path, ORIN_NANO))
    assert source._watts == pytest.approx(5.072 * 1.184)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"1-0040/hwmon/hwmon1/in1_label": "VDD_GPU_SOC"}, "VDD_CPU_GPU_CV, VDD_GPU_SOC"),
        ({"1-0040/hwmon/hwmon1/curr1_input": ""}, "curr1_input has no number"),
    ],
)
def test_another_boards_rails_are_not_taken_for_all_of_it(tmp_path: Path, change: dict[str, str], reason: str) -> None:
    with pytest.raises(NoEnergy, match=reason):
        jetson(tree(tmp_path, ORIN_NANO | change))
    with pytest.raises(NoEnergy, match="has no rails"):
        jetson(tmp_path / "nothing")


def test_the_rails_of_a_pi_5() -> None:
    assert watts_in(PI_5) == pytest.approx(0.1 * 3.7 + 0.05 * 3.3 + 2.0 * 0.8)
    assert pi(lambda: PI_5).name == "pmic"


@pytest.mark.parametrize(
    "told", ["", 'error=1 error_msg="Command not registered"', "EXT5V_V volt(24)=5.1V", "X_A current(0)=1.5A"]
)
def test_a_pi_without_such_a_chip_knows_nothing(told: str) -> None:
    with pytest.raises(NoEnergy, match="no rail's volts and amperes"):
        pi(lambda: told)


def test_vcgencmd_that_is_not_there_or_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NoEnergy, match="there is no vcgencmd"):
        pi()

    def hangs(*_: Any, **__: Any) -> None:
        raise subprocess.TimeoutExpired("vcgencmd", 2.0)

    monkeypatch.setattr(subprocess, "run", hangs)
    with pytest.raises(NoEnergy, match="timed out"):
        pi()


def nvml(millijoules: list[int], broken: str = "") -> SimpleNamespace:
    """Stands in for pynvml on a machine with GPUs that have taken so much since the driver was loaded."""

    def fail_in(where: str) -> None:
        if broken == where:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)

    def read(gpu: int) -> int:
        fail_in("read")
        return millijoules[gpu]

    return SimpleNamespace(
        NVMLError=pynvml.NVMLError,
        nvmlInit=lambda: fail_in("init"),
        nvmlDeviceGetCount=lambda: len(millijoules),
        nvmlDeviceGetHandleByIndex=lambda number: number,
        nvmlDeviceGetTotalEnergyConsumption=read,
    )


def test_gpus_are_summed() -> None:
    millijoules = [5_000, 7_000]
    source = Nvml(nvml(millijoules))
    millijoules[:] = 6_000, 9_500
    assert source.joules() == pytest.approx(3.5)


@pytest.mark.parametrize(
    ("library", "reason"),
    [
        (nvml([]), "shows no GPU"),
        (nvml([1], "init"), "Not Supported"),
        (nvml([1], "read"), "Not Supported"),
    ],
)
def test_without_a_gpu_that_counts_nothing_is_known(library: SimpleNamespace, reason: str) -> None:
    with pytest.raises(NoEnergy, match=reason):
        Nvml(library)
    assert all(hasattr(pynvml, name) for name in vars(library)), "the real module has them too"


def test_watts_become_joules_by_their_mean_between_two_looks() -> None:
    clock, asked = Clock(), [4.0, 6.0, 8.0]
    source = OfWatts("pmic", lambda: asked.pop(0), 1.0, clock)
    clock.sleep(0.5)
    assert source.joules() == pytest.approx(2.0), "as it was last"
    clock.sleep(0.5)
    assert source.joules() == pytest.approx(5.0)
    clock.sleep(2.0)
    assert source.joules() == pytest.approx(5.0 + 14.0)
    assert not asked


class Failing:
    """A source that can be read so many times."""

    name = "failing"

    def __init__(self, times: int) -> None:
        self.left = times

    def joules(self) -> float:
        self.left -= 1
        if self.left < 0:
            raise NoEnergy("it was unplugged")
        return 10.0


def absent() -> Source:
    raise NoEnergy("nothing is there")


def failing(times: int) -> Callable[[], Source]:
    return lambda: Failing(times)


def test_what_is_measured_goes_before_what_is_stated() -> None:
    measured = Meter(5.0, [absent, failing(9), failing(9)])
    assert (measured.known, measured.joules(3.0)) == (Known.MEASURED, 20.0)
    assert measured.told == "measured (failing, failing)"
    stated = Meter(5.0, [absent])
    assert (stated.known, stated.joules(3.0), stated.told) == (Known.STATED, 15.0, "stated (5 W)")
    unknown = Meter(0.0, [absent])
    assert (unknown.known, unknown.joules(3.0), unknown.told) == (Known.UNKNOWN, None, "unknown (nothing is there)")


def test_what_falls_silent_is_unknown_and_not_made_up_for_by_what_was_stated() -> None:
    meter = Meter(5.0, [failing(1), failing(9)])
    assert meter.joules(1.0) == 20.0
    assert meter.joules(1.0) is None
    assert (meter.known, meter.told) == (Known.UNKNOWN, "unknown (it was unplugged)")


def test_this_machine_is_looked_at_without_an_error() -> None:
    meter = Meter()
    assert (meter.joules(1.0) is None) == (meter.known is Known.UNKNOWN)


class Rising:
    """A source that has taken so many joules."""

    name = "rising"

    def __init__(self, taken: list[float]) -> None:
        self.taken = taken

    def joules(self) -> float:
        return self.taken[0]


def test_a_second_half_of_which_was_forwards_counts_half() -> None:
    clock, taken = Clock(), [100.0]
    energy = ForwardEnergy(Meter(0.0, [lambda: Rising(taken)]), clock)
    clock.sleep(1.0)
    taken[0] = 140.0
    assert energy.figures(0.5) == {"energy": "measured", "energy_j": 140.0, "forward_j": 20.0}
    clock.sleep(1.0)
    taken[0] = 150.0
    assert energy.figures(0.5)["forward_j"] == 20.0, "nothing was computed"
    clock.sleep(1.0)
    taken[0] = 190.0
    assert energy.figures(1.8)["forward_j"] == 60.0, "a forward that began before was counted when it had ended"


def test_a_hubs_stated_watts_are_those_of_its_forwards() -> None:
    clock = Clock()
    energy = ForwardEnergy(Meter(60.0, []), clock)
    clock.sleep(10.0)
    assert energy.figures(0.5) == {"energy": "stated", "energy_j": 30.0, "forward_j": 30.0}
    assert ForwardEnergy(Meter(0.0, []), clock).figures(0.5) == {
        "energy": "unknown",
        "energy_j": None,
        "forward_j": None,
    }


HUB = {"committed": 1000, "forward_us": 4_000_000, "forward_j": 200.0, "energy": "measured"}


def test_an_answer_costs_what_was_taken_since_it_began_and_its_share_of_the_hubs() -> None:
    drafted, taken = [7.0], [100.0]
    cost = AnswerCost(Meter(0.0, [lambda: Rising(taken)]), lambda: drafted[0])
    drafted[0], taken[0] = 8.0, 120.0
    cost.begin()
    drafted[0], taken[0] = 8.5, 123.0
    assert cost.so_far(50, HUB) == Cost(0.5, 3.0, Known.MEASURED, 0.2, 10.0, Known.MEASURED)


@pytest.mark.parametrize(
    "hub",
    [
        {},
        {"committed": 0},
        {"committed": True},
        {"committed": 1e300, "forward_us": 1},
        {"committed": "many"},
        {"committed": float("nan")},
    ],
)
def test_what_a_hub_says_of_its_cost_is_believed_as_far_as_it_is_a_number(hub: dict[str, Any]) -> None:
    cost = AnswerCost(Meter(6.0, []), lambda: 2.0).so_far(50, hub)
    assert cost == Cost(0.0, 0.0, Known.STATED, None, None, Known.UNKNOWN)
    assert AnswerCost(Meter(0.0, []), lambda: 2.0).so_far(50, HUB | {"forward_j": None, "energy": []}) == Cost(
        0.0, None, Known.UNKNOWN, 0.2, None, Known.UNKNOWN
    )
