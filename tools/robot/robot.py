"""A robot in a house with four places: it takes the nine calls of `home` that are for robots, one after the other, and says where it is."""

from __future__ import annotations

import json
import logging
import math
import queue
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from shared.mqtt import MqttLink
from shared.settings import BrokerSettings
from shared.topics import Topics

log = logging.getLogger(__name__)

PLACES = {"dock": (0.0, 0.0), "kitchen": (4.0, 1.0), "table": (3.0, 4.0), "garden": (-5.0, 6.0)}
SOMEBODY = (-2.0, 2.0)  # where whoever is followed stands
STEP_S = 0.02
_SPEED, _TURNING = 2.0, 240.0  # metres and degrees a second
_FAR, _ROUND = 1.0, 90.0  # metres and degrees where a call does not say how many
_NEAR = 0.01  # metres
_POSE_S = 0.1  # seconds between two messages of where it is
_KNOWN = 256  # calls that are known again when they come again
_SIDES = {"forward": 0.0, "left": 90.0, "backward": 180.0, "right": -90.0}


@dataclass
class Pose:
    """Metres from the dock and degrees to the left of where it looked at first."""

    x: float = 0.0
    y: float = 0.0
    heading: float = 0.0
    camera: str = "forward"
    holds: str = ""
    follows: str = ""
    docked: bool = True
    moving: bool = False


@dataclass
class Robot:
    """What a robot does with its calls; time passes by `step` alone."""

    pose: Pose = field(default_factory=Pose)
    path: list[tuple[float, float]] = field(default_factory=lambda: [(0.0, 0.0)])
    refused: list[str] = field(default_factory=list)
    _under_way: deque[Callable[[], bool]] = field(
        default_factory=deque
    )  # each does a step and says whether it has arrived

    def take(self, name: str, arguments: dict[str, Any]) -> None:
        """Take a call: "stop" at once, others behind those that came before."""
        if name == "RobotStop":
            self._under_way.clear()
            self.pose.moving, self.pose.follows = False, ""
            return
        making: dict[str, Callable[..., None]] = {
            "RobotMove": self._move, "RobotTurn": self._turn, "RobotGoTo": self._go_to, "RobotFollow": self._follow,
            "RobotDock": self._dock, "RobotLook": self._look, "RobotPick": self._pick, "RobotPlace": self._place,
        }  # fmt: skip
        if name in making:
            making[name](**arguments)

    def step(self) -> None:
        """Let STEP_S pass."""
        if self._under_way and self._under_way[0]():
            self._under_way.popleft()
        self.pose.moving = bool(self._under_way)

    def _move(self, direction: str, distance_m: float = _FAR) -> None:
        left = distance_m

        def drive() -> bool:
            nonlocal left
            pace = min(left, _SPEED * STEP_S)
            angle = math.radians(self.pose.heading + _SIDES[direction])
            self._to(self.pose.x + pace * math.cos(angle), self.pose.y + pace * math.sin(angle))
            left -= pace
            return left <= 0

        self._under_way.append(drive)

    def _turn(self, direction: str, degrees: float = _ROUND) -> None:
        left = degrees
        sign = 1 if direction == "left" else -1

        def turn() -> bool:
            nonlocal left
            part = min(left, _TURNING * STEP_S)
            self.pose.heading = (self.pose.heading + sign * part) % 360
            left -= part
            return left <= 0

        self._under_way.append(turn)

    def _go_to(self, place: str) -> None:
        if place in PLACES:
            self._under_way.append(lambda: self._nearer(*PLACES[place]))
        else:
            self.refused.append(f"there is no place {place!r}")

    def _follow(self, name: str) -> None:
        def follow() -> bool:
            self.pose.follows = name
            return self._nearer(*SOMEBODY)

        self._under_way.append(follow)

    def _dock(self) -> None:
        def drive() -> bool:
            arrived = self._nearer(*PLACES["dock"])
            self.pose.docked = arrived
            return arrived

        self._under_way.append(drive)

    def _look(self, direction: str) -> None:
        self.pose.camera = direction

    def _pick(self, item: str) -> None:
        def pick() -> bool:
            self.pose.holds = item
            return True

        self._under_way.append(pick)

    def _place(self, place: str) -> None:
        def put() -> bool:
            self.pose.holds = ""
            return True

        self._go_to(place)
        self._under_way.append(put)

    def _nearer(self, x: float, y: float) -> bool:
        """Drive a step towards a point; whether it is there."""
        far = math.hypot(x - self.pose.x, y - self.pose.y)
        if far > _NEAR:
            share = min(1.0, _SPEED * STEP_S / far)
            self.pose.heading = math.degrees(math.atan2(y - self.pose.y, x - self.pose.x)) % 360
            self._to(self.pose.x + share * (x - self.pose.x), self.pose.y + share * (y - self.pose.y))
        return math.hypot(x - self.pose.x, y - self.pose.y) <= _NEAR

    def _to(self, x: float, y: float) -> None:
        self.pose.x, self.pose.y, self.pose.docked = x, y, False
        self.path.append((x, y))


class RobotOnMqtt:
    """A robot that listens to a node's calls, each of which it carries out once, and publishes its pose, on a thread of its own."""

    def __init__(self, broker: BrokerSettings, user: str, node: str) -> None:
        self.robot = Robot()
        topics = Topics(broker.prefix)
        self._pose_topic = f"{broker.prefix}/robot/{user}/pose"
        self._calls: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._known: OrderedDict[str, None] = OrderedDict()
        self._ends = threading.Event()
        self._link = MqttLink(broker, user)
        self._link.connect()
        self._link.subscribe(
            topics.node(node, "call"), lambda _, payload: self._calls.put(json.loads(payload)), retained=False
        )
        self._thread = threading.Thread(target=self._drive, name="robot")
        self._thread.start()

    def settle(self, timeout_s: float = 30.0) -> Pose:
        """Wait until it stands still; where it is then. Raises TimeoutError."""
        deadline = time.monotonic() + timeout_s
        time.sleep(10 * STEP_S)  # what was called is under way by then
        while self.robot.pose.moving:
            if time.monotonic() > deadline:
                raise TimeoutError("the robot does not come to rest")
            time.sleep(STEP_S)
        return self.robot.pose

    def close(self) -> None:
        """Stand still and leave the broker."""
        self._ends.set()
        self._thread.join()
        self._link.close()

    def _drive(self) -> None:
        told_at = 0.0
        while not self._ends.wait(STEP_S):
            while not self._calls.empty():
                call = self._calls.get()
                if call["id"] in self._known:
                    continue
                self._known[call["id"]] = None
                while len(self._known) > _KNOWN:
                    self._known.popitem(last=False)
                self.robot.take(call["name"], call["arguments"])
            self.robot.step()
            if time.monotonic() >= told_at + _POSE_S:
                told_at = time.monotonic()
                self._link.publish_json(self._pose_topic, asdict(self.robot.pose))
