"""A pair that is sure of nothing, through a real broker, hub and service: it asks back, and does nothing before a yes."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace

import pytest

from hub.pairing.manifest import write_manifest, written_of
from shared.pair import load_pair
from tests.waiting import wait_until
from tools.demo import node_command
from tools.rig.household import Household, running_service
from tools.rig.testbed import HubBed, running_hub

pytestmark = pytest.mark.slow

REQUEST = "turn on the kitchen lights"
QUESTION = "Did you mean: turn on the lights in the kitchen?"
CALL = {"name": "HassTurnOn", "arguments": {"area": "kitchen", "domain": "light"}}


@dataclass
class Place:
    bed: HubBed
    house: Household
    pair: str


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("unsure") / "home"
    shutil.copytree(load_pair("home").folder, folder)
    pair = load_pair(str(folder))
    assert pair.confidence is not None
    unsure = replace(written_of(pair), confidence=replace(pair.confidence, ask_below=1.0))
    write_manifest(folder, unsure, (), pair.sha256)
    log = folder.parent / "log"
    with (
        running_hub(["pi", "jetson"], pair=str(folder), homes=["house"]) as bed,
        running_service(bed.broker.settings("pi"), "pi", log, ["--pair", str(folder)]),
        closing(Household(bed.broker.settings("house"), "house", "pi")) as house,
    ):
        yield Place(bed, house, str(folder))


def test_nothing_is_called_before_a_yes_and_then_once(place: Place) -> None:
    asked = place.house.ask(REQUEST, temperature=0.0, chat="sofa")
    answer, told = place.house.answer(asked), place.house.told[asked]
    assert (answer["calls"], answer["doubted_calls"], answer["asks"], answer["say"]) == ([], [CALL], True, QUESTION)
    assert 0 < answer["confidence"] < 1
    assert "".join(piece["say"] for piece in told.stream) == QUESTION
    agreed = place.house.ask("yes please", chat="sofa")
    assert place.house.answer(agreed)["calls"] == [CALL]
    wait_until(lambda: place.house.told[agreed].calls)
    assert [{"name": c["name"], "arguments": c["arguments"]} for c in place.house.told[agreed].calls] == [CALL]
    assert told.calls == []


def test_a_no_ends_it_and_another_request_does_too(place: Place) -> None:
    for reply in ("no", "what time is it"):
        place.house.answer(place.house.ask(REQUEST, temperature=0.0, chat=f"bed {reply}"))
        place.house.answer(place.house.ask(reply, temperature=0.0, chat=f"bed {reply}"))
        late = place.house.ask("yes", temperature=0.0, chat=f"bed {reply}")
        assert CALL not in place.house.answer(late)["calls"]  # a yes is to what was asked last


def test_who_can_not_say_yes_is_told_that_nothing_was_done(place: Place) -> None:
    asked = place.house.ask(REQUEST, temperature=0.0)
    answer = place.house.answer(asked)
    assert (answer["calls"], answer["asks"]) == ([], False)
    assert "changed nothing" in answer["say"]


def test_a_stop_is_never_asked_back_about(place: Place) -> None:
    asked = place.house.ask("robot stop", temperature=0.0, chat="lab")
    assert [call["name"] for call in place.house.answer(asked)["calls"]] == ["RobotStop"]
    wait_until(lambda: place.house.told[asked].calls)


def test_ask_tells_programs_and_people(place: Place) -> None:
    def ask(*options: str) -> str:
        broker = place.bed.broker.settings("jetson")
        command = node_command(broker, "jetson", "ask", "--pair", place.pair, *options)
        return subprocess.run([*command, REQUEST], capture_output=True, text=True, check=True, timeout=120).stdout

    told = json.loads(ask("--json"))
    assert (told["calls"], told["doubted_calls"], told["say"]) == ([], [CALL], QUESTION)
    assert told["text"].startswith('{"name":"HassTurnOn"')
    people = ask()
    assert people.splitlines()[-1].endswith(QUESTION)
    assert people.startswith(told["text"])
    trusting = json.loads(ask("--json", "--no-asks-back"))
    assert (trusting["calls"], trusting["confidence"]) == ([CALL], None)
    assert trusting["text"] == told["text"]
