"""Files of a pair on their way to devices: real brokers, hubs and `sled-node pull`, which are killed, disturbed and asked too much."""

from __future__ import annotations

import os
import random
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from edge_node.delivery.hub_files import HubFiles
from edge_node.delivery.offer import OfferedFile
from shared.codec import decode, encode
from shared.errors import DeliveryError
from shared.file_hash import sha256_of
from shared.limits import MAX_PIECE
from shared.messages import AnyMessage, Fault, FaultCode, Fetch
from shared.mqtt import MqttLink
from shared.pair import CURRENT, Pair
from shared.settings import BrokerSettings
from shared.topics import Topics
from tests.waiting import wait_until
from tools.demo import node_command
from tools.rig.drafts import Extra, pair_with_drafts
from tools.rig.killable import Killable
from tools.rig.lane import Disturbance, Window
from tools.rig.memory import rss_mb
from tools.rig.mqtt_proxy import mqtt_proxy
from tools.rig.packets import Publish
from tools.rig.testbed import HUB, HubBed, running_hub

pytestmark = pytest.mark.slow

TOPICS = Topics()
KILLS = 5
LARGE = 10_000_000  # bytes of the draft that is fetched
RATE = "6M"


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """The built-in pair under another name, with a draft that is no graph: delivery does not look into it."""
    folder = tmp_path_factory.mktemp("hub") / "lamps"
    return pair_with_drafts(folder, {"large": Extra(random.Random(0).randbytes(LARGE))})


@pytest.fixture(scope="module")
def bed(pair: Pair) -> Iterator[HubBed]:
    options = ["--threads", "1", "--kv-memory", "64M", "--delivery-rate", RATE]
    with running_hub(["pi", "jetson", "greedy"], str(pair.folder), options) as running:
        offered(running)
        yield running


def offered(bed: HubBed) -> None:
    """Wait until the hub has hashed its files."""
    with closing(HubFiles(bed.broker.settings("pi"), "pi")) as files:
        wait_until(lambda: HUB in files.offers().offers)


class Pull:
    """`sled-node pull` of the large draft, into a folder of its own."""

    def __init__(self, broker: BrokerSettings, folder: Path, node: str = "pi", prefix: tuple[str, ...] = ()) -> None:
        self.data = folder / f"data-{node}"
        command = [*prefix, *node_command(broker, node, "pull", "--pair", "lamps", "--draft", "large")]
        self.log = folder / f"{node}.log"
        self.program = Killable(command, self.log, environment={**os.environ, "XDG_DATA_HOME": str(self.data)})

    @property
    def folder(self) -> Path:
        return self.data / "sled" / "pairs" / "lamps"

    @property
    def on_disk(self) -> int:
        """Bytes of all that has come."""
        return sum(path.stat().st_size for path in (self.folder / "parts").glob("*.part"))

    def run(self) -> str:
        """Let it come to its end; the last line that it wrote."""
        self.program.start()
        self.end()
        return self.log.read_text().splitlines()[-1]

    def end(self) -> None:
        wait_until(lambda: not self.program.runs, 120)

    def advance(self, pieces: int) -> None:
        """Wait until so many pieces more are on disk."""
        before = self.on_disk
        wait_until(lambda: self.on_disk >= before + pieces * MAX_PIECE, 60)

    def is_right(self, pair: Pair) -> bool:
        files = {path.name: path for path in (self.folder / CURRENT).iterdir()}
        return len(files) == 5 and sha256_of(files["large.onnx"]) == sha256_of(pair.drafts["large"].model)

    @property
    def size(self) -> int:
        """Bytes of all files, once they are here."""
        return sum(path.stat().st_size for path in (self.folder / CURRENT).iterdir())


def delivered(bed: HubBed) -> int:
    return int(bed.hub_stats()["delivered_bytes"])


def test_a_node_that_is_killed_goes_on_where_it_was(bed: HubBed, pair: Pair, tmp_path: Path) -> None:
    before, pull = delivered(bed), Pull(bed.broker.settings("pi"), tmp_path)
    for _ in range(KILLS):
        pull.program.start()
        pull.advance(pieces=3)
        assert pull.program.runs, pull.program.last_words()
        pull.program.kill()
    assert "is here;" in pull.run()
    assert pull.is_right(pair)
    assert 0 <= delivered(bed) - before - pull.size <= KILLS * MAX_PIECE


def test_a_broker_that_is_killed_costs_a_piece_each_time(bed: HubBed, pair: Pair, tmp_path: Path) -> None:
    before, pull = delivered(bed), Pull(bed.broker.settings("pi"), tmp_path)
    pull.program.start()
    for _ in range(KILLS):
        pull.advance(pieces=3)
        bed.broker.crash()
        bed.broker.start()
    pull.end()
    assert pull.is_right(pair), pull.program.last_words()
    assert 0 <= delivered(bed) - before - pull.size <= KILLS * MAX_PIECE


def test_two_nodes_at_once_and_then_nothing_more_to_fetch(bed: HubBed, pair: Pair, tmp_path: Path) -> None:
    before = delivered(bed)
    pulls = [Pull(bed.broker.settings(node), tmp_path, node) for node in ("pi", "jetson")]
    for pull in pulls:
        pull.program.start()
    for pull in pulls:
        pull.end()
        assert pull.is_right(pair), pull.program.last_words()
    assert delivered(bed) - before == sum(pull.size for pull in pulls)
    assert "is here already" in pulls[0].run()
    assert delivered(bed) - before == sum(pull.size for pull in pulls)


class Unwatched:
    """A proxy's witness that notes nothing."""

    def passed(self, lane: str, upward: bool, publish: Publish) -> None: ...

    def disturbed(self, disturbance: Disturbance, publish: Publish) -> None: ...


def is_full_piece(publish: Publish) -> bool:
    return publish.topic == TOPICS.piece(HUB, "pi") and len(publish.payload) > MAX_PIECE


@pytest.mark.parametrize(("most", "says"), [(1, "is here;"), (float("inf"), "came damaged twice")])
def test_a_piece_that_was_changed_on_the_way(bed: HubBed, pair: Pair, tmp_path: Path, most: float, says: str) -> None:
    before = delivered(bed)
    with mqtt_proxy(bed.broker.port, 1, Unwatched()) as proxy:
        lane = proxy.add("pi")
        lane.open_window(Window(Disturbance.CHANGE, time.monotonic() + 60, 1.0, hits=is_full_piece, most=most))
        pull = Pull(replace(bed.broker.settings("pi"), port=lane.port), tmp_path)
        assert says in pull.run()
    if most == 1:
        assert lane.counted[Disturbance.CHANGE] == 1
        assert pull.is_right(pair)
        assert delivered(bed) - before == pull.size + MAX_PIECE


def test_a_disk_that_is_full_keeps_what_has_come(bed: HubBed, pair: Pair, tmp_path: Path) -> None:
    before, room = delivered(bed), 2000  # KiB
    narrow = Pull(bed.broker.settings("pi"), tmp_path, prefix=("bash", "-c", f'ulimit -f {room}; exec "$@"', "bash"))
    assert "File too large; what has come so far is kept" in narrow.run()
    assert room * 1024 - MAX_PIECE < max(path.stat().st_size for path in narrow.folder.glob("parts/*")) <= room * 1024
    wide = Pull(bed.broker.settings("pi"), tmp_path)
    assert "is here;" in wide.run()
    assert wide.is_right(pair)
    assert delivered(bed) - before <= wide.size + 2 * MAX_PIECE


def hear(bed: HubBed, node: str, fetches: list[Fetch], wanted: int, seconds: float = 20.0) -> list[AnyMessage]:
    """Ask for all that at once; the first answers."""
    heard: list[AnyMessage] = []
    link = MqttLink(bed.broker.settings(node), node)
    link.connect()
    with closing(link):
        link.subscribe(TOPICS.piece(HUB, node), lambda _, payload: heard.append(decode(payload)))
        for fetch in fetches:
            link.publish(TOPICS.fetch(HUB, node), encode(fetch))
        link.flush(60)
        wait_until(lambda: len(heard) >= wanted, seconds)
    return heard


def test_what_is_not_offered_is_not_sent(bed: HubBed, pair: Pair) -> None:
    target, large = (sha256_of(path) for path in (Path(pair.target) / "model.safetensors", pair.drafts["large"].model))
    asked = [Fetch(target, 0, 100), Fetch(bytes(32), 0, 1), Fetch(large, LARGE - 10, 11)]
    for fetch in asked:
        (answer,) = hear(bed, "greedy", [fetch], wanted=1)
        assert isinstance(answer, Fault)
        assert (answer.code, answer.session) == (FaultCode.UNKNOWN_FILE, fetch.file[:16])
    with closing(HubFiles(bed.broker.settings("greedy"), "greedy")) as files:
        files.ask(HUB, OfferedFile("x", 10, bytes(32)), 0)
        with pytest.raises(DeliveryError, match="does not send a file: the hub does not offer this file"):
            files.piece()


def test_a_node_that_asks_for_ten_thousand_pieces_gets_few_and_delays_nobody(
    bed: HubBed, pair: Pair, tmp_path: Path
) -> None:
    large = sha256_of(pair.drafts["large"].model)
    stats, rss = bed.hub_stats(), rss_mb(bed.hub_pid)
    pull = Pull(bed.broker.settings("pi"), tmp_path)
    pull.program.start()
    pull.advance(pieces=1)
    answers = hear(bed, "greedy", [Fetch(large, n, MAX_PIECE) for n in range(10_000)], wanted=4)
    pull.end()
    assert pull.is_right(pair), pull.program.last_words()
    after = bed.hub_stats()
    assert after["delivery_refused"] - stats["delivery_refused"] > 9_000
    assert after["delivered_bytes"] - stats["delivered_bytes"] < pull.size + 1_000 * MAX_PIECE
    assert rss_mb(bed.hub_pid) - rss < 30
    assert len(answers) < 1_000


def test_what_is_asked_in_vain_is_one_sentence(bed: HubBed) -> None:
    for options, says in (
        (("--pair", "lamps", "--draft", "nope"), "no hub offers a draft 'nope' of 'lamps'; there are: default, large"),
        (("--pair", "garden"), "no hub serves the pair 'garden' ('bench-hub' has 'lamps')"),
        (("--pair", "lamps", "--hub", "attic"), "hub 'attic' does not say what it delivers"),
        (("--pair", "home"), "'home' is a built-in pair"),
        (("--pair", "./lamps"), "'./lamps' is no name of a pair"),
    ):
        command = node_command(bed.broker.settings("pi"), "pi", "pull", *options)
        said = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert said.returncode == 1
        assert says in said.stderr
        assert said.stderr.count("\n") == 1
