"""`sled-node run` as a program on a real broker, asked as a house asks it."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from shared.mqtt import MqttLink
from shared.mqtt_packets import Publish
from tests.waiting import wait_until
from tools.demo import node_command
from tools.rig.household import Household, running_service
from tools.rig.testbed import HubBed

pytestmark = pytest.mark.slow

LONG: dict[str, Any] = {"temperature": 100.0, "seed": 3, "max_tokens": 700}  # writes nonsense that comes to no end


@dataclass
class Place:
    bed: HubBed
    house: Household
    process: subprocess.Popen[bytes]


@pytest.fixture(scope="module")
def place(bed: HubBed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    log = tmp_path_factory.mktemp("service") / "log"
    with (
        running_service(bed.broker.settings("pi"), "pi", log, ["--at-once", "2", "--queue", "1"]) as process,
        closing(Household(bed.broker.settings("house"), "house", "pi")) as house,
    ):
        yield Place(bed, house, process)


def test_a_request_is_streamed_answered_and_called(place: Place) -> None:
    request = place.house.ask("turn on the kitchen lights", temperature=0.0)
    answer, told = place.house.answer(request), place.house.told[request]
    wait_until(lambda: told.calls)
    assert {key: answer[key] for key in ("id", "chat", "finish", "calls", "say", "provisional", "refused_calls")} == {
        "id": request,
        "chat": "",
        "finish": "end",
        "calls": [{"name": "HassTurnOn", "arguments": {"area": "kitchen", "domain": "light"}}],
        "say": "Turned on the lights in the kitchen.",
        "provisional": "",
        "refused_calls": [],
    }
    assert told.calls == [
        {
            "id": told.calls[0]["id"],
            "answer": request,
            "name": "HassTurnOn",
            "arguments": {"area": "kitchen", "domain": "light"},
            "asker": "",
            "chat": "",
        }
    ]
    assert [piece["seq"] for piece in told.stream] == list(range(len(told.stream)))
    assert "".join(piece["text"] for piece in told.stream) == answer["text"]
    assert _sources(told.stream) == _sources([answer])
    assert len(_sources([answer])) == len(answer["text"])
    assert sum(drafted for drafted, *_ in answer["steps"]) == answer["drafted"]
    assert "".join(piece["say"] for piece in told.stream) == answer["say"]
    assert [piece.get("last", False) for piece in told.stream] == [False] * (len(told.stream) - 1) + [True]
    assert told.stream[-1]["sentences"] == len(answer["say"])


def _sources(messages: list[dict[str, Any]]) -> list[str]:
    """Of each character where it is from."""
    return [source for each in messages for source, length in each.get("sources", ()) for _ in range(length)]


def test_a_chat_goes_on_and_others_know_nothing_of_it(place: Place) -> None:
    def ask(text: str, **chat: str) -> str:
        return str(place.house.answer(place.house.ask(text, temperature=0.0, **chat))["text"])

    ask("turn on the kitchen lights", chat="a")
    assert "kitchen" in ask("now turn them off", chat="a")
    assert "kitchen" not in ask("now turn them off", chat="b")
    assert "kitchen" not in ask("now turn them off")


def test_what_is_no_request_gets_a_sentence(place: Place) -> None:
    place.house.send("ask", '{"id": "odd", "text": 5}')
    wait_until(lambda: "odd" in place.house.told)
    assert place.house.answer("odd") == {
        "id": "odd",
        "finish": "error",
        "error": "text must be text of at most 65536 characters",
    }


def test_who_asks_too_much_is_told_and_a_cancel_frees_the_hub(place: Place) -> None:
    requests = [place.house.ask("tell me everything", **LONG) for _ in range(5)]
    refused = {"finish": "busy", "error": "the node is busy, and as many requests wait as may (1); ask again later"}
    for request in requests[3:]:
        answer = place.house.answer(request)
        assert {key: answer[key] for key in refused} == refused
    wait_until(lambda: all(place.house.told[each].stream for each in requests[:2]))
    place.house.send("cancel", requests[0])
    assert place.house.answer(requests[0])["finish"] == "cancelled"
    place.house.send("cancel", "")
    for request in requests[1:3]:
        assert place.house.answer(request)["finish"] == "cancelled"
    assert not any(place.house.told[each].calls for each in requests)
    decided = place.bed.hub_stats()["target_forwards"]
    assert place.bed.hub_stats()["target_forwards"] == decided


def test_a_repeated_request_is_answered_once_and_told_again(place: Place) -> None:
    request = place.house.ask("turn off the bedroom lights", "mine", temperature=0.0)
    place.house.ask("turn off the bedroom lights", "mine", temperature=0.0)
    place.house.answer(request)
    place.house.ask("turn off the bedroom lights", "mine", temperature=0.0)
    told = place.house.told[request]
    wait_until(lambda: len(told.answers) == 2)
    assert told.answers[0] == told.answers[1]
    assert len(told.calls) == 1


def test_stop_waits_for_nothing(place: Place) -> None:
    busy = [place.house.ask("tell me everything", **LONG) for _ in range(3)]
    wait_until(lambda: place.house.told[busy[0]].stream)
    began = time.monotonic()
    stop = place.house.ask("Stop!")
    answer = place.house.answer(stop)
    assert time.monotonic() - began < 0.5
    assert answer["calls"] == [{"name": "RobotStop", "arguments": {}}]
    assert [place.house.answer(each)["finish"] for each in busy] == ["cancelled"] * 3  # nothing may move it on


def test_an_answer_goes_where_the_request_says_below_the_nodes_answers(place: Place) -> None:
    with closing(MqttLink(place.bed.broker.settings("guest"), "guest")) as guest:
        guest.connect()
        came: list[Publish] = []
        guest.listen("sled/node/pi/answer/#", came.append)
        guest.listen("elsewhere", came.append)
        for topic in ("sled/node/pi/answer/pi", "elsewhere"):
            wanted = Properties(PacketTypes.PUBLISH)
            wanted.ResponseTopic, wanted.CorrelationData = topic, b"\0seven"
            guest._client.publish("sled/node/pi/ask", "what time is it?", qos=1, properties=wanted)
        wait_until(lambda: {"sled/node/pi/answer/pi", "sled/node/pi/answer"} <= {each.topic for each in came})
        assert not any(each.topic == "elsewhere" for each in came)
        assert all(b"\0seven" in each.properties for each in came)


def test_ask_finds_the_service_and_prints_what_a_node_alone_prints(place: Place) -> None:
    def typed(node: str, *options: str) -> str:
        command = node_command(place.bed.broker.settings(node), node, "ask", "--temperature", "0", *options)
        limits = ["--at-once", "2", "--queue", "1"]
        return subprocess.run(
            [*command, *limits, "turn", "on", "the", "lights"], capture_output=True, text=True, check=True
        ).stdout

    assert typed("pi") == typed("jetson") != ""
    answered, alone = json.loads(typed("pi", "--json")), json.loads(typed("jetson", "--json"))
    assert answered.keys() == {"id", "chat", *alone.keys()}
    assert "id" not in json.loads(typed("pi", "--json", "--mode", "stream"))  # it would answer otherwise


def test_a_service_tells_when_it_is_there(place: Place) -> None:
    assert place.house.status["online"] is True
    wait_until(lambda: place.house.stats.get("answers", 0) > 0)
    assert place.house.stats["hub"] == "bench-hub"


def test_many_requests_of_one_chat_do_not_pile_up(place: Place) -> None:
    first = place.house.ask("tell me everything", chat="c", **LONG)
    wait_until(lambda: place.house.told[first].stream)
    rest = [place.house.ask("and more", chat="c", **LONG) for _ in range(3)]
    assert [place.house.answer(each)["finish"] for each in rest[1:]] == ["busy", "busy"]
    place.house.send("cancel", "")
    assert [place.house.answer(each)["finish"] for each in (first, rest[0])] == ["cancelled", "cancelled"]


def test_a_last_will_that_comes_late_is_corrected(place: Place) -> None:
    with closing(MqttLink(place.bed.broker.settings("guest"), "guest")) as guest:
        guest.connect()
        came: list[bool] = []
        guest.subscribe(
            "sled/node/pi/status", lambda _, payload: came.append(json.loads(payload)["online"]), retained=False
        )
        guest.publish_json("sled/node/pi/status", {"online": False, "instance": "of a connection before"})
        wait_until(lambda: came == [False, True])


def test_of_two_services_of_one_name_the_older_one_answers(bed: HubBed, tmp_path: Path) -> None:
    broker = bed.broker.settings("jetson")
    with running_service(broker, "jetson", tmp_path / "a") as first:
        second = node_command(broker, "jetson", "run")
        done = subprocess.run(second, check=False, capture_output=True, text=True, timeout=60)
        assert done.returncode == 1
        assert "another `sled-node run` answers as 'jetson' already" in done.stderr
        assert first.poll() is None
        with closing(Household(bed.broker.settings("house"), "house", "jetson")) as house:
            request = house.ask("what time is it?")
            assert house.answer(request)["finish"] == "end"
            assert house.status["online"] is True
            time.sleep(0.5)
            assert len(house.told[request].answers) == 1


def test_an_id_is_one_requests_and_every_stop_counts(place: Place) -> None:
    place.house.answer(place.house.ask("what time is it?", "one", temperature=0.0))
    place.house.ask("turn on the lights", "one", temperature=0.0)
    told = place.house.told["one"]
    wait_until(lambda: len(told.answers) == 2)
    assert told.answers[1]["error"] == "this id was another request's; give each request an id of its own"
    for _ in range(2):
        place.house.ask("stop", "button")
    wait_until(lambda: len(place.house.told["button"].calls) == 2)
    assert len({call["id"] for call in place.house.told["button"].calls}) == 2


def test_a_call_that_nobody_was_given_does_not_come_behind_a_stop(bed: HubBed, tmp_path: Path) -> None:
    with (
        running_service(bed.broker.settings("jetson"), "jetson", tmp_path / "log"),
        closing(MqttLink(bed.broker.settings("guest"), "guest")) as guest,
    ):
        guest.connect()
        answers: list[str] = []
        guest.subscribe(
            "sled/node/jetson/answer", lambda _, payload: answers.append(json.loads(payload)["say"]), retained=False
        )
        guest.publish("sled/node/jetson/ask", json.dumps({"text": "turn left by 90 degrees", "temperature": 0}))
        wait_until(lambda: answers)
        calls: list[str] = []
        guest.subscribe(
            "sled/node/jetson/call", lambda _, payload: calls.append(json.loads(payload)["name"]), retained=False
        )
        guest.publish("sled/node/jetson/ask", "stop")
        wait_until(lambda: "RobotStop" in calls)
        time.sleep(2.5)
        assert calls[-1] == "RobotStop"


def test_systemd_is_told_and_sigterm_ends_it_in_order(bed: HubBed, tmp_path: Path) -> None:
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as supervisor,
        closing(Household(bed.broker.settings("house"), "house", "jetson")) as house,
    ):
        supervisor.bind(str(tmp_path / "notify"))
        supervisor.settimeout(20)
        command = node_command(bed.broker.settings("jetson"), "jetson", "run")
        environment = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "PATH": "/usr/bin", "HOME": str(tmp_path)}
        with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE) as process:
            assert supervisor.recv(99) == b"READY=1"
            assert supervisor.recv(99) == b"WATCHDOG=1"
            request = house.ask("tell me everything", **LONG)
            wait_until(lambda: house.told[request].stream)
            process.send_signal(signal.SIGTERM)
            while (told := supervisor.recv(99)) == b"WATCHDOG=1":
                pass
            assert told == b"STOPPING=1"
            assert process.wait(20) == 0
        assert house.answer(request)["finish"] == "cancelled"
        wait_until(lambda: house.status["online"] is False)


def test_the_hubs_on_a_broker_are_listed(bed: HubBed) -> None:
    def listed(*options: str) -> str:
        command = node_command(bed.broker.settings("jetson"), "jetson", "hubs", *options)
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    told = json.loads(listed("--json"))
    assert told["bench-hub"]["online"] is True
    assert told["bench-hub"]["pair"] == "home"
    head, row = listed().splitlines()
    assert head.split() == ["hub", "online", "pair", "target", "sessions", "version"]
    assert row.split()[:4] == ["bench-hub", "yes", "home", "home/float32"]
