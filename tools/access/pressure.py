"""What one hostile credential can do to the broker's memory: `python -m tools.access.pressure`.

The broker is as `sled-hub init-broker` makes it. Node `pi` attacks; meanwhile node `jetson` writes to itself, as a round does.
"""

from __future__ import annotations

import itertools
import json
import secrets
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from hub.enrolment.access import Role, rules
from hub.enrolment.broker_folder import BrokerFolder
from shared.codec import SESSION_BYTES
from shared.errors import LinkError
from shared.joining import write_credential
from shared.limits import MAX_FRAME
from shared.mqtt import MqttLink
from shared.settings import BrokerSettings
from shared.tls import tls_context
from shared.topics import Topics
from tools.access.trial import HOST, serving
from tools.rig.broker import free_port

TOPICS = Topics()
_LARGEST = SESSION_BYTES + MAX_FRAME  # bytes
_ECHO_S = 5.0  # seconds after which a message counts as lost
_AT_ONCE = 20  # messages between two confirmations
_ATTACKER, _OTHER = "pi", "jetson"


@dataclass
class Pressure:
    """What an attack came to: megabytes of the broker's process, whether that lives, and what became of the other's messages."""

    attack: str
    sent: int
    peak_rss_mb: float
    alive: bool
    echoes: int
    echoes_lost: int


def retained(settings: BrokerSettings, limit_s: float) -> int:
    """10,000 retained messages of 64 KiB on all topics that a node may write, and as many on others; the number that was sent."""
    own = [
        rule.topic
        for rule in rules(_ATTACKER, {"den": Role.HUB, _ATTACKER: Role.NODE}, TOPICS)
        if "write" in rule.access
    ]
    others = (f"{TOPICS.draft('den', _ATTACKER)}/{number}" for number in itertools.count())
    topics = itertools.islice(itertools.chain.from_iterable(zip(itertools.cycle(own), others, strict=False)), 20_000)
    return _flood(settings, topics, 65_536, limit_s, retain=True)


def many_retained(settings: BrokerSettings, limit_s: float) -> int:
    """A million small retained messages on topics of its own making; the number that was sent."""
    topics = (f"{TOPICS.draft('den', _ATTACKER)}/{number}" for number in range(1_000_000))
    return _flood(settings, topics, 64, limit_s, retain=True)


def slow_readers(settings: BrokerSettings, limit_s: float) -> int:
    """30 connections that never read, while 10,000 of the largest messages are sent to each of them."""
    topic, readers = TOPICS.echo(_ATTACKER, "there"), [_reader(settings, number) for number in range(30)]
    try:
        return _flood(settings, (topic for _ in range(10_000)), _LARGEST, limit_s)
    finally:
        for reader in readers:
            reader.loop_stop()
            _drop(reader)


def absent_readers(settings: BrokerSettings, limit_s: float) -> int:
    """30 sessions whose clients are away, while 10,000 of the largest messages wait for them."""
    for number in range(30):
        _drop(_reader(settings, number, kept_s=600))
    topic = TOPICS.echo(_ATTACKER, "there")
    return _flood(settings, (topic for _ in range(10_000)), _LARGEST, limit_s)


ATTACKS: tuple[Callable[[BrokerSettings, float], int], ...] = (retained, many_retained, slow_readers, absent_readers)


def pressure(attack: Callable[[BrokerSettings, float], int], folder: Path, limit_s: float) -> Pressure:
    """Attack a new broker, whose files go into `folder`, for at most `limit_s` seconds."""
    broker = BrokerFolder(folder / "broker")
    broker.create([HOST], TOPICS.prefix, free_port(), free_port())
    broker.enroll("den", Role.HUB, certificate=False)
    settings = {
        name: write_credential(broker.enroll(name, Role.NODE, certificate=False), folder / f"{name}.toml")
        for name in (_ATTACKER, _OTHER)
    }
    with serving(broker, folder) as process, _echoing(settings[_OTHER]) as echo, _peak_rss(process.pid) as peak_mb:
        sent = attack(settings[_ATTACKER], limit_s)
        time.sleep(1)
        return Pressure(attack.__name__, sent, peak_mb(), process.poll() is None, echo.came_back, echo.lost)


class Echo:
    """Writes to itself, at most 50 times a second, and waits each time for what comes back."""

    def __init__(self, settings: BrokerSettings) -> None:
        self.came_back, self.lost = 0, 0
        self._topic, self._back = TOPICS.echo(_OTHER, "there"), threading.Event()
        self._link = MqttLink(settings, _OTHER)
        self._link.connect()
        self._link.subscribe(self._topic, lambda *_: self._back.set(), retained=False)

    def run(self, stop: threading.Event) -> None:
        """Until `stop` is set."""
        while not stop.wait(0.02):
            self._back.clear()
            self._link.publish(self._topic, bytes(200))
            if self._back.wait(_ECHO_S):
                self.came_back += 1
            else:
                self.lost += 1
        self._link.close()


@contextmanager
def _echoing(settings: BrokerSettings) -> Iterator[Echo]:
    echo, stop = Echo(settings), threading.Event()
    thread = threading.Thread(target=echo.run, args=(stop,))
    thread.start()
    try:
        yield echo
    finally:
        stop.set()
        thread.join()


@contextmanager
def _peak_rss(pid: int) -> Iterator[Callable[[], float]]:
    """The most megabytes that the process has had, by the kernel's own account, which ends with the process."""
    seen, stop = [0.0], threading.Event()

    def watch() -> None:
        while not stop.wait(0.05):
            try:
                status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
            except OSError:
                return
            seen.extend(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmHWM"))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield lambda: round(max(seen), 1)
    finally:
        stop.set()
        thread.join()


def _flood(settings: BrokerSettings, topics: Iterator[str], size: int, limit_s: float, *, retain: bool = False) -> int:
    link, sent, deadline = MqttLink(settings, _ATTACKER), 0, time.monotonic() + limit_s
    link.on_refused = lambda _: None
    link.connect()
    for topic in topics:
        try:
            link.publish(topic, secrets.token_bytes(64) + bytes(size - 64), retain=retain)
        except LinkError:
            break
        sent += 1
        if sent % _AT_ONCE == 0:
            link.flush(1.0)
        if time.monotonic() > deadline:
            break
    link.close()
    return sent


def _reader(settings: BrokerSettings, number: int, kept_s: int = 0) -> paho.Client:
    """A client that has subscribed and from then on reads nothing."""
    client = paho.Client(CallbackAPIVersion.VERSION2, client_id=f"reader-{number}", protocol=paho.MQTTv5)
    context = tls_context(settings)
    assert context is not None
    client.tls_set_context(context)
    client.username_pw_set(_ATTACKER, settings.password())
    properties = Properties(PacketTypes.CONNECT)
    properties.SessionExpiryInterval, properties.ReceiveMaximum = kept_s, 65_535
    granted = threading.Event()

    def subscribe(*_: object) -> None:
        client.subscribe(TOPICS.echo(_ATTACKER, "there"), qos=1)

    client.on_connect = subscribe
    client.on_subscribe = lambda *_: granted.set()
    client.connect(settings.host, settings.port, clean_start=not kept_s, properties=properties)
    while not granted.is_set():
        client.loop(0.1)
    return client


def _drop(client: paho.Client) -> None:
    sock = client.socket()
    if sock is not None:
        sock.close()


def main() -> None:
    """Print a line of JSON for each attack."""
    for attack in ATTACKS:
        with tempfile.TemporaryDirectory(prefix="sled-pressure-") as folder:
            print(json.dumps(asdict(pressure(attack, Path(folder), 30.0))))


if __name__ == "__main__":
    main()
