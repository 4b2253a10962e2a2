"""Hubs that freeze, die or never lived, a broker that restarts, and a device that goes on alone: the answer is the same."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from edge_node.assembly import connected
from edge_node.dialogue.answer import Answer
from edge_node.dialogue.conversation import Conversation
from edge_node.dialogue.generation import Generation
from edge_node.settings import HubLoss, Mode
from shared.codec import decode, encode
from shared.messages import AnyMessage, Open, Opened
from shared.mqtt import MqttLink
from shared.pair import load_pair
from shared.settings import BrokerSettings
from shared.topics import Topics
from tests.waiting import wait_until
from tools.demo import hub_command, node_command
from tools.rig.killable import Killable
from tools.rig.lane import Disturbance, Lane, one_loss
from tools.rig.mqtt_proxy import MqttProxy, mqtt_proxy
from tools.rig.packets import Publish
from tools.rig.testbed import HUB, HubBed, running_hub

pytestmark = pytest.mark.slow

OTHER = "other-hub"
GHOST = "ghost-hub"
TOPICS = Topics()
# At this temperature and with this seed the answer has no end of its own for hundreds of tokens.
LONG = Generation(temperature=100.0, seed=2, max_tokens=150)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[HubBed, Killable]]:
    """A hub, another with fewer threads that tests may kill and freeze, and the name of one that never was."""
    with running_hub(["pi", "jetson"], hub_options=["--threads", "2"], other_hubs=[OTHER, GHOST]) as bed:
        log = tmp_path_factory.mktemp("hubs") / "other.log"
        other = Killable(hub_command(bed.broker.settings(OTHER), OTHER, "--threads", "1", "--kv-memory", "64M"), log)
        other.start()
        wait_until(lambda: bed._observer.directory.seen(OTHER).online, 60)
        try:
            yield bed, other
        finally:
            other.end()
        assert bed.broker.process.poll() is None, bed.broker.last_words()


def say(bed: HubBed, hub: str, leaf: str, state: dict[str, object]) -> None:
    """Publish a hub's retained state in its name."""
    link = MqttLink(bed.broker.settings(hub), hub)
    link.connect()
    link.publish_json(TOPICS.hub(hub, leaf), state)
    link.close()


def answer_in(node: Conversation, generation: Generation = LONG) -> Answer:
    answer = Answer()
    for _ in node.ask("tell me everything", generation, answer):
        pass
    node.clear()
    return answer


@contextmanager
def asking_of(bed: HubBed, hub: str) -> Iterator[Conversation]:
    """A node whose session is with that hub, however loaded that is."""
    with connected(bed.node("pi", mode=Mode.STREAM, credit=8)) as node:
        serving = node.loop._hub
        serving._opening = serving._link.opening(prefer=hub)
        channel = node.begin()
        assert channel is not None
        assert channel.hub == hub
        yield node


class Unwatched:
    """A proxy's witness that notes nothing."""

    def passed(self, lane: str, upward: bool, publish: Publish) -> None: ...

    def disturbed(self, disturbance: Disturbance, publish: Publish) -> None: ...


@contextmanager
def lane(bed: HubBed) -> Iterator[tuple[MqttProxy, Lane, BrokerSettings]]:
    """A node's way to the broker that can be disturbed, and the settings that lead there."""
    with mqtt_proxy(bed.broker.port, 1, Unwatched()) as proxy:
        way = proxy.add("pi")
        yield proxy, way, replace(bed.broker.settings("pi"), port=way.port)


def stands_still_s(node: Conversation, expected: str, what: Callable[[], None], sessions: int = 1) -> float:
    """The longest time without a piece of the answer once `what` was done in its middle, which takes it so many sessions."""
    answer, longest_s = Answer(), 0.0
    last: float | None = None  # when the last piece came, once it was done
    for _ in node.ask("tell me everything", LONG, answer):
        now = time.monotonic()
        if last is not None:
            longest_s, last = max(longest_s, now - last), now
        elif answer.stats.tokens >= 20:
            last = now
            what()
    assert last is not None
    assert answer.text == expected
    assert answer.stats.reopened >= sessions - 1
    if sessions > 1:
        assert answer.notice.startswith(f"the answer went on at hub {HUB!r}, which computes a little differently")
    node.clear()
    return longest_s


def one_of_a_few_within(bound_s: float, trial: Callable[[], float]) -> None:
    """The bounds are those of a machine that does nothing else. One that stands still itself does not do so each time."""
    took: list[float] = []
    while len(took) < 4:
        took.append(trial())
        if took[-1] <= bound_s:
            return
    pytest.fail(f"took {took} seconds, and never {bound_s} at most")


@pytest.mark.parametrize(("how", "bound_s"), [("freeze", 2.0), ("kill", 2.0), ("ask_to_end", 0.5)])
def test_another_hub_takes_over_in_the_middle_of_an_answer(
    house: tuple[HubBed, Killable], how: str, bound_s: float
) -> None:
    bed, other = house
    with asking_of(bed, HUB) as node:
        expected = answer_in(node).text

    def trial() -> float:
        with asking_of(bed, OTHER) as node:
            took = stands_still_s(node, expected, getattr(other, how), sessions=2)
        if how == "freeze":
            other.thaw()
        else:
            wait_until(lambda: not (other.runs or bed._observer.directory.seen(OTHER).online), 10)
            other.start()
        wait_until(lambda: bed._observer.directory.seen(OTHER).online, 60)
        return took

    one_of_a_few_within(bound_s, trial)


@pytest.mark.parametrize("mode", [Mode.STREAM, Mode.SPECULATE])
@pytest.mark.parametrize("leaf", ["draft", "verdict"])
def test_a_lost_message_costs_a_second_at_most(house: tuple[HubBed, Killable], leaf: str, mode: Mode) -> None:
    bed, _ = house
    with lane(bed) as (_, way, broker), connected(replace(bed.node("pi", mode=mode, credit=8), broker=broker)) as node:
        expected = answer_in(node).text
        one_of_a_few_within(
            1.0, lambda: stands_still_s(node, expected, lambda: way.open_window(one_loss(leaf, seconds=10)))
        )
        assert way.counted[Disturbance.DROP] >= 1


def test_ask_says_within_a_second_what_it_waits_for(house: tuple[HubBed, Killable]) -> None:
    bed, _ = house

    def trial() -> float:
        with lane(bed) as (proxy, _, broker):
            options = [
                "--mode",
                "stream",
                "--credit",
                "8",
                "--temperature",
                "100",
                "--seed",
                "2",
                "--max-tokens",
                "300",
            ]
            command = node_command(broker, "pi", "ask", *options, "tell me everything")
            with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as asking:
                assert asking.stdout is not None
                assert asking.stderr is not None
                assert len(asking.stdout.read(20)) == 20
                cut_at = time.monotonic()
                proxy.cut("pi", 2.0, closes=False)
                said = asking.stderr.readline()
                took = time.monotonic() - cut_at
                assert asking.stdout.read()
                assert said.startswith("sled-node: waiting: ")
                assert "sled-node: going on\n" in asking.stderr.read()
            assert asking.returncode == 0
            return took

    one_of_a_few_within(1.0, trial)


def test_a_hub_that_the_broker_only_tells_of_costs_no_answer(house: tuple[HubBed, Killable]) -> None:
    bed, _ = house
    info = bed._observer.directory.seen(HUB).info
    say(bed, GHOST, "info", info)
    say(bed, GHOST, "stats", {"sessions": 0})
    say(bed, GHOST, "status", {"online": True})
    try:
        for _ in range(4):
            began = time.monotonic()
            with connected(bed.node("jetson")) as node:
                assert answer_in(node, Generation(temperature=0.0, max_tokens=8)).ids
            assert time.monotonic() - began < 10
    finally:
        say(bed, GHOST, "status", {"online": False})


def test_the_late_will_of_an_old_connection_is_put_right(house: tuple[HubBed, Killable]) -> None:
    bed, _ = house
    heard: list[bool] = []
    link = MqttLink(bed.broker.settings("pi"), "pi")
    link.connect()
    link.subscribe(TOPICS.hub(HUB, "status"), lambda _, payload: heard.append(json.loads(payload)["online"]))
    say(bed, HUB, "status", {"online": False})
    wait_until(lambda: heard[-2:] == [False, True], 5)
    link.close()


def test_a_hub_says_its_bits_only_to_who_can_read_them(house: tuple[HubBed, Killable]) -> None:
    """An older node refuses a frame with a field that it does not know."""
    bed, _ = house
    heard: list[AnyMessage] = []
    link = MqttLink(bed.broker.settings("pi"), "pi")
    link.connect()
    link.subscribe(TOPICS.opened("pi"), lambda _, payload: heard.append(decode(payload)))
    pair = load_pair("home")
    for number, wants_bits in enumerate((False, True)):
        request = Open(bytes([number]) * 16, pair.name, pair.tokenizer_hash(), wants_bits)
        link.publish(TOPICS.open(HUB, "pi"), encode(request))
    wait_until(lambda: len(heard) == 2, 10)
    link.close()
    assert [message.bits for message in heard if isinstance(message, Opened)] == [
        "",
        bed._observer.directory.seen(HUB).info["bits"],
    ]
    assert len(encode(heard[0])) < len(encode(heard[1]))


def test_an_answer_outlives_its_broker(house: tuple[HubBed, Killable]) -> None:
    bed, _ = house
    with asking_of(bed, HUB) as node:
        expected = answer_in(node).text
        told: list[str] = []
        node.loop.on_wait = told.append
        answer = Answer()
        for number, _ in enumerate(node.ask("tell me everything", LONG, answer)):
            if number == 20:
                bed.broker.crash()
                bed.broker.start()
    assert answer.text == expected


def test_a_device_goes_on_alone_and_the_hub_that_comes_back_has_the_last_word(tmp_path: Path) -> None:
    with running_hub(["pi"]) as bed:
        settings = bed.node("pi", mode=Mode.SPECULATE, on_hub_loss=HubLoss.DRAFT, hub_timeout_s=1.0, wait_s=1.0)
        with connected(settings) as node:
            node.begin()
            requests = ["turn on the kitchen lights", "close the garage door", "what time is it?"]
            greedy = Generation(temperature=0.0, max_tokens=64)
            expected = [_told(node, request, greedy).text for request in requests]
            node.clear()
            first = _told(node, requests[0], greedy)
            bed._hub.close()
            alone = [_told(node, request, greedy) for request in requests[1:]]
            assert all(answer.provisional for answer in alone)
            bed.start_hub()
            last = _told(node, "turn off the kitchen lights", greedy)
            assert not last.provisional
            assert [turn.request for turn in last.settled] == requests[1:]
            assert [first.text, *(turn.now for turn in last.settled)] == expected
            assert [turn.content for turn in node.turns if turn.role == "assistant"] == [*expected, last.text]


def _told(node: Conversation, request: str, generation: Generation) -> Answer:
    answer = Answer()
    for _ in node.ask(request, generation, answer):
        pass
    return answer


def test_ask_without_any_hub_marks_what_it_says_and_makes_no_call(bed: HubBed) -> None:
    command = node_command(bed.broker.settings("pi"), "pi", "ask", "--broker-prefix", "nowhere", "--wait", "0.5")
    command += ["--on-hub-loss", "draft", "turn on the kitchen lights"]
    plain = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert plain.stdout.startswith("[provisional] ")
    assert "no hub is online" in plain.stderr
    figures = json.loads(
        subprocess.run([*command, "--json"], capture_output=True, text=True, timeout=60, check=True).stdout
    )
    assert figures["provisional"] == figures["text"] != ""
    assert figures["calls"] == []


def test_a_hub_that_was_restarted_still_knows_what_chats_begin_with() -> None:
    system = f"Devices: {', '.join(f'garden lamp {number}' for number in range(40))}"
    # A hub measures at its start with how many threads it is fastest, and pages are known by their number too.
    with running_hub(["pi", "jetson"], hub_options=["--threads", "1"]) as bed:

        def answer(name: str) -> str:
            with connected(bed.node(name, mode=Mode.STREAM), system) as node:
                return _told(node, "turn on the kitchen lights", Generation(temperature=0.0, max_tokens=32)).text

        first = answer("pi")
        assert answer("jetson") == first
        before = bed.hub_stats()["shared_tokens"]
        assert before > 64
        bed.restart_hub()
        assert bed.hub_stats()["shared_tokens"] == 0
        assert answer("pi") == first
        assert bed.hub_stats()["shared_tokens"] == before
