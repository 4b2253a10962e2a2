"""The simulated robot, and a drive by what is said to it."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import pytest

from tools.robot.robot import PLACES, STEP_S, Robot


def rest(robot: Robot) -> None:
    for _ in range(int(60 / STEP_S)):
        robot.step()
        if not robot.pose.moving:
            return
    raise AssertionError("it does not come to rest")


def test_it_drives_and_turns_as_far_as_it_is_told() -> None:
    robot = Robot()
    robot.take("RobotTurn", {"direction": "left", "degrees": 90})
    robot.take("RobotMove", {"direction": "right", "distance_m": 1.5})
    rest(robot)
    assert (robot.pose.x, robot.pose.y, robot.pose.heading) == pytest.approx((1.5, 0.0, 90.0))


def test_it_carries_things_to_places_in_the_order_of_its_calls() -> None:
    robot = Robot()
    robot.take("RobotGoTo", {"place": "kitchen"})
    robot.take("RobotPick", {"item": "cup"})
    robot.take("RobotPlace", {"place": "table"})
    robot.take("RobotGoTo", {"place": "moon"})
    rest(robot)
    assert math.dist((robot.pose.x, robot.pose.y), PLACES["table"]) < 0.02
    assert robot.pose.holds == ""
    assert robot.refused == ["there is no place 'moon'"]
    robot.take("RobotDock", {})
    rest(robot)
    assert robot.pose.docked


def test_a_stop_ends_all_that_was_to_be_done() -> None:
    robot = Robot()
    for place in ("garden", "kitchen"):
        robot.take("RobotGoTo", {"place": place})
    for _ in range(20):
        robot.step()
    robot.take("RobotStop", {})
    stood = robot.pose.x, robot.pose.y
    robot.step()
    assert (robot.pose.x, robot.pose.y) == stood != (0.0, 0.0)


@pytest.mark.slow
def test_it_is_driven_by_what_is_said(tmp_path: Path) -> None:
    picture = tmp_path / "path.png"
    done = subprocess.run(
        [sys.executable, "-m", "tools.try_robot", "--out", str(picture)],
        check=False,
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("ok   ") == 14
    assert picture.stat().st_size > 5000
