"""Drives the simulated robot by what people say: `python -m tools.try_robot`.

A broker, a hub, `sled-node run` and the robot run as they would in a house. After each request the robot's state is compared with what it should be; the
path is drawn. Exits with status 1 where something is not as it should be.
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from shared.program import run
from shared.streams import put_line
from tools.rig.household import Household, running_service
from tools.rig.testbed import running_hub
from tools.robot.picture import draw
from tools.robot.robot import PLACES, Pose, RobotOnMqtt

_NODE, _HOUSE, _ROBOT = "pi", "house", "rover"
_NEAR = 0.05  # metres and degrees

Check = Callable[[Pose, Pose], bool]  # of the pose before and after


def _is_at(place: str) -> Check:
    return lambda _, now: math.dist((now.x, now.y), PLACES[place]) < _NEAR


def _has_driven(metres: float) -> Check:
    return lambda before, now: abs(math.dist((now.x, now.y), (before.x, before.y)) - metres) < _NEAR


def _has_turned(degrees: float) -> Check:
    return lambda before, now: abs((now.heading - before.heading - degrees + 180) % 360 - 180) < _NEAR


def _is_unchanged(before: Pose, now: Pose) -> bool:
    return before == now


_SAID: tuple[tuple[str, str, Check], ...] = (
    ("drive forward 2 meters", "2 m on", _has_driven(2.0)),
    ("turn left by 90 degrees", "90° to the left", _has_turned(90.0)),
    ("move back 1 meter", "1 m back", _has_driven(1.0)),
    ("go to the kitchen", "in the kitchen", _is_at("kitchen")),
    ("pick up the cup", "holds the cup", lambda _, now: now.holds == "cup"),
    ("go to the table", "at the table, with the cup", lambda b, now: _is_at("table")(b, now) and now.holds == "cup"),
    ("put it down on the table", "holds nothing", lambda _, now: not now.holds),
    ("look up", "camera up", lambda _, now: now.camera == "up"),
    ("what is the capital of France?", "unchanged", _is_unchanged),
    ("follow the dog", "follows the dog", lambda _, now: now.follows == "dog"),
    ("turn right", "90° to the right", _has_turned(-90.0)),
    ("return to your dock", "docked", lambda _, now: now.docked),
)


def main(
    out: Annotated[Path, typer.Option(dir_okay=False, help="picture of the path to save")] = Path("docs/robot.png"),
) -> None:
    """Say it all, and check what the robot does."""
    failed = 0

    def check(said: str, expected: str, good: bool) -> None:
        nonlocal failed
        failed += not good
        put_line(f"{'ok  ' if good else 'FAIL'} {said!r}: {expected}")

    with (
        tempfile.TemporaryDirectory(prefix="sled-robot-") as folder,
        running_hub([_NODE], homes=[_HOUSE], crowds=[_ROBOT]) as bed,
        running_service(bed.broker.settings(_NODE), _NODE, Path(folder) / "service.log", ["--no-asks-back"]),
        closing(Household(bed.broker.settings(_HOUSE), _HOUSE, _NODE)) as house,
        closing(RobotOnMqtt(bed.broker.settings(_ROBOT), _ROBOT, _NODE)) as robot,
    ):
        for text, expected, holds in _SAID:
            before = replace(robot.robot.pose)
            house.answer(house.ask(text, temperature=0.0))
            now = robot.settle()
            check(text, expected, holds(before, now))
        for hub_runs in (True, False):
            house.answer(house.ask("go to the garden", temperature=0.0))
            time.sleep(0.5)
            if not hub_runs:
                bed.end_hub()
            moved = robot.robot.pose.moving
            began = time.monotonic()
            house.answer(house.ask("Stop!"))
            while robot.robot.pose.moving:
                time.sleep(0.001)
            took_ms = 1e3 * (time.monotonic() - began)
            stood = replace(robot.settle())
            time.sleep(0.5)
            where = "with a hub" if hub_runs else "without a hub"
            check(
                "Stop!",
                f"stands still after {took_ms:.0f} ms, {where}",
                moved and took_ms < 500 and stood == robot.robot.pose,
            )
        draw(robot.robot.path, out)
    put_line(f"the path is in {out}")
    if failed:
        raise typer.Exit(1)


if __name__ == "__main__":
    run("tools.try_robot", main, RuntimeError, TimeoutError)
