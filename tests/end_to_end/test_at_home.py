"""`sled-node run` with a Home Assistant: what it lists, carries out, asks back and says, and how it shows itself."""

from __future__ import annotations

import json
import queue
import secrets
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from shared.discovery import birth_topic, config_topic
from shared.mqtt import MqttLink
from shared.private_file import write_file
from shared.topics import Topics
from tests.scripted_home_assistant import HIDDEN, TOKEN, ScriptedHomeAssistant
from tests.waiting import wait_until
from tools.demo import node_command
from tools.rig.household import Household, running_service
from tools.rig.testbed import HUB, HubBed, running_hub

pytestmark = pytest.mark.slow


@dataclass
class Place:
    bed: HubBed
    house: Household
    home: ScriptedHomeAssistant
    options: list[str]
    ros: dict[
        str, list[dict[str, Any]]
    ]  # what robots were told, from the first request on: what nobody hears is said again later


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("at-home")
    write_file(folder / "token", TOKEN)
    with (
        closing(ScriptedHomeAssistant()) as home,
        running_hub(["pi", "jetson"], homes=["house"], hub_options=["--broker-discovery"]) as bed,
    ):
        options = [f"--home-assistant-url={home.url}", f"--home-assistant-token-file={folder / 'token'}"]
        with (
            running_service(bed.broker.settings("pi"), "pi", folder / "log", [*options, "--broker-discovery", "--ros"]),
            closing(Household(bed.broker.settings("house"), "house", "pi")) as house,
            closing(MqttLink(bed.broker.settings("house"), "house")) as robots,
        ):
            heard: dict[str, list[dict[str, Any]]] = {"call": [], "say": []}
            topics = {Topics().ros("pi", leaf): leaf for leaf in heard}
            robots.connect()
            for topic in topics:
                robots.subscribe(topic, lambda topic, payload: heard[topics[topic]].append(json.loads(payload)))
            wait_until(lambda: home.was_read)
            yield Place(bed, house, home, options, heard)


def _ask(place: Place, text: str, chat: str = "") -> dict[str, Any]:
    place.home.handled.clear()
    return place.house.answer(place.house.ask(text, temperature=0.0, **({"chat": chat} if chat else {})))


def test_a_request_is_carried_out_and_said_when_home_assistant_has_done_it(place: Place) -> None:
    answer = _ask(place, "turn on the bed light")
    assert place.home.handled == [{"name": "HassTurnOn", "data": {"name": "light.bed"}}]
    assert answer["say"] == "Turned on Bed Light."
    assert answer["text"].endswith("}\nTurned on Bed Light.")
    assert [result["done"] for result in answer["results"]] == [True]
    told = place.house.told[answer["id"]]
    assert "".join(piece["text"] for piece in told.stream) == answer["text"]
    assert "".join(piece["say"] for piece in told.stream) == answer["say"]
    assert not told.calls  # nobody else is to carry it out too


def test_nothing_is_called_done_before_it_is(place: Place) -> None:
    said: list[str] = []

    def slow(told: dict[str, Any]) -> tuple[int, Any]:
        request = place.house.told
        said.extend(piece["say"] for each in request.values() if not each.answers for piece in each.stream)
        return 500, {}

    place.home.on_intent = slow
    try:
        answer = _ask(place, "turn on the bed light")
    finally:
        place.home.on_intent = place.home.succeed
    assert "Turned on" not in "".join(said) + answer["say"] + answer["text"]
    assert "does not do that" in answer["say"]


def test_a_lock_waits_for_a_yes_in_the_same_chat(place: Place) -> None:
    asked = _ask(place, "unlock the front door", "hall")
    assert asked["say"] == "Shall I unlock Front Door?"
    assert asked["asks"]
    assert not place.home.handled
    assert _ask(place, "yes", "another")["say"] == "I have not asked anything."
    assert not place.home.handled
    assert _ask(place, "yes", "hall")["say"] == "Unlocked Front Door."
    assert place.home.handled == [{"name": "HassTurnOff", "data": {"name": "lock.front"}}]
    assert "after a yes only" in _ask(place, "unlock the front door")["say"]
    assert not place.home.handled


def test_stop_withdraws_what_was_asked_back(place: Place) -> None:
    assert _ask(place, "unlock the front door", "porch")["asks"]
    _ask(place, "Stop!", "porch")
    assert _ask(place, "yes", "porch")["say"] == "I have not asked anything."
    assert not place.home.handled


@pytest.mark.parametrize(
    "text",
    [
        "is the sink light on?",
        "turn on the secret light",
        "turn on the disco ball",
        "don't turn on the bed light",
        "set the thermostat to nine hundred degrees",
    ],
)
def test_what_must_change_nothing_changes_nothing(place: Place, text: str) -> None:
    answer = _ask(place, text)
    assert not place.home.handled
    assert answer["say"]
    assert not place.house.told[answer["id"]].calls


def test_what_is_not_exposed_stays_untouched(place: Place) -> None:
    _ask(place, "turn off all the lights")
    assert place.home.handled
    assert all(told["data"].get("name") not in {None, HIDDEN} for told in place.home.handled)


def test_a_request_that_comes_again_is_carried_out_once(place: Place) -> None:
    place.home.handled.clear()
    request = secrets.token_hex(8)
    for _ in range(3):
        place.house.ask("turn on the stove light", request, temperature=0.0)
    place.house.answer(request)
    place.house.ask("turn on the stove light", request, temperature=0.0)
    wait_until(lambda: len(place.house.told[request].answers) >= 2)
    assert len(place.home.handled) == 1


def test_a_request_that_was_begun_is_not_carried_out_by_the_next_service(place: Place, tmp_path: Path) -> None:
    """The service is killed while Home Assistant is busy with the call."""
    reached, go_on = threading.Event(), threading.Event()

    def slow(told: dict[str, Any]) -> tuple[int, Any]:
        reached.set()
        go_on.wait(20)
        return place.home.succeed(told)

    settings, place.home.on_intent = place.bed.broker.settings("jetson"), slow
    place.home.handled.clear()
    place.home.was_read = False
    with closing(Household(place.bed.broker.settings("house"), "house", "jetson")) as house:
        with running_service(settings, "jetson", tmp_path / "first", place.options) as first:
            wait_until(lambda: place.home.was_read)
            request = house.ask("turn on the bed light", temperature=0.0)
            assert reached.wait(20)
            first.kill()
            first.wait()
        go_on.set()
        place.home.on_intent = place.home.succeed
        with running_service(settings, "jetson", tmp_path / "second", place.options):
            answer = house.answer(request)
    assert (answer["finish"], "may be done" in answer["error"]) == ("error", True)
    assert len(place.home.handled) == 1


def test_calls_of_robots_are_still_published(place: Place) -> None:
    answer = _ask(place, "turn left by 90 degrees")
    told = place.house.told[answer["id"]]
    wait_until(lambda: told.calls)
    assert [call["name"] for call in told.calls] == ["RobotTurn"]
    assert not place.home.handled


def test_robots_in_ros_are_told_in_their_form(place: Place) -> None:
    for told in place.ros.values():
        told.clear()
    answer = _ask(place, "turn left by 90 degrees")
    wait_until(lambda: all(place.ros.values()))
    assert place.ros["say"] == [{"data": answer["say"]}]
    assert [list(each) for each in place.ros["call"]] == [["data"]]
    assert json.loads(place.ros["call"][0]["data"])["name"] == "RobotTurn"


def test_the_command_asks_the_same_service(place: Place) -> None:
    place.home.handled.clear()
    command = node_command(place.bed.broker.settings("pi"), "pi", "ask", "turn", "on", "the", "hall", "light")
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.endswith("Turned on Hall Light.\n"), done.stderr
    assert len(place.home.handled) == 1


def test_the_mode_is_set_by_a_home(place: Place) -> None:
    for mode in ("stream", "speculate"):
        place.house.send("mode", mode)
        wait_until(lambda mode=mode: place.house.stats.get("set_mode") == mode)  # type: ignore[misc]
        assert _ask(place, "turn on the bed light")["mode"] == mode
    place.house.send("mode", "as fast as you can\x1b")
    assert _ask(place, "turn on the bed light")["mode"] == "speculate"


def _described(place: Place, name: str) -> tuple[MqttLink, queue.SimpleQueue[bytes]]:
    heard: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    link = MqttLink(place.bed.broker.settings("house"), "house")
    link.connect()
    link.subscribe(config_topic("homeassistant", name), lambda _, payload: heard.put(payload))
    return link, heard


@pytest.mark.parametrize("name", ["pi", HUB])
def test_a_program_describes_itself_and_again_when_home_assistant_starts(place: Place, name: str) -> None:
    link, heard = _described(place, name)
    with closing(link):
        described = json.loads(heard.get(timeout=10))
        link.publish(birth_topic("homeassistant"), "offline")
        link.publish(birth_topic("homeassistant"), "online")
        assert json.loads(heard.get(timeout=10)) == described
    components = described["components"]
    assert described["origin"]["name"] == "SLED"
    assert all({"platform", "unique_id"} <= component.keys() for component in components.values())
    assert len({component["unique_id"] for component in components.values()}) == len(components)


def test_home_assistant_forgets_a_node(place: Place) -> None:
    command = node_command(place.bed.broker.settings("pi"), "pi", "run")
    command = [*command[: command.index("run")], "ha", "remove", *command[command.index("run") + 1 :]]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert "removes the device" in done.stdout, done.stderr
    link, heard = _described(place, "pi")
    with closing(link):
        link.flush()
        assert heard.empty()


def test_sync_shows_what_the_node_may_know(place: Place) -> None:
    command = [sys.executable, "-m", "edge_node.cli", "ha", "sync", *place.options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert "8 entities are exposed" in done.stdout, done.stderr
    assert "Bedroom (Ground Floor): Bed Light = night light" in done.stdout
    assert "Secret" not in done.stdout
    told = json.loads(subprocess.run([*command, "--json"], capture_output=True, timeout=60, check=True).stdout)
    assert {entity["id"] for entity in told["entities"]} == set(place.home.names).difference({HIDDEN})
    wrong = subprocess.run([*command[:-1], f"--home-assistant-token-file={Path(__file__)}"], capture_output=True, text=True, timeout=60, check=False)  # fmt: skip
    assert wrong.returncode == 1
    assert "sled-node: " in wrong.stderr
