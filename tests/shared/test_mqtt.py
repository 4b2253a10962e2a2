"""The MQTT client: what it survives."""

from __future__ import annotations

import queue
import socket
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import trustme
from paho.mqtt.enums import MQTTErrorCode

from shared import mqtt_client
from shared.errors import BrokerRefused, BrokerUnreachable, LinkError
from shared.mqtt import MqttLink
from shared.mqtt_client import WriteThroughClient
from shared.mqtt_packets import OpenGate
from shared.settings import BrokerSettings
from tools.rig.broker import answers, broker_command, free_port, private_broker
from tools.rig.process import started
from tools.rig.testbed import HUB, HubBed


@pytest.mark.slow
def test_a_handler_that_raises_does_not_deafen_the_client(bed: HubBed) -> None:
    link = MqttLink(bed.broker.settings("stranger"), "stranger")
    link.connect()
    heard: queue.Queue[bytes] = queue.Queue()

    def handler(_topic: str, payload: bytes) -> None:
        heard.put(payload)
        raise RuntimeError("a bug")

    link.subscribe(f"sled/hub/{HUB}/stats", handler)
    first, second = heard.get(timeout=5), heard.get(timeout=5)
    link.close()
    assert first
    assert second
    assert link.handler_errors >= 1


@pytest.mark.slow
def test_tcp_nodelay_is_set(bed: HubBed) -> None:
    link = MqttLink(bed.broker.settings("stranger"), "stranger")
    link.connect()
    sock = link._client.socket()
    assert isinstance(sock, socket.socket)
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0
    link.close()


@pytest.mark.slow
def test_wrong_password_and_no_broker(bed: HubBed, tmp_path: Path) -> None:
    wrong = tmp_path / "password"
    wrong.write_text("wrong")
    wrong.chmod(0o600)
    with pytest.raises(BrokerRefused, match="user name and the password"):
        MqttLink(BrokerSettings("127.0.0.1", bed.broker.port, password_file=wrong), "pi").connect()
    with pytest.raises(BrokerUnreachable, match="start one there"):
        MqttLink(BrokerSettings("127.0.0.1", 1), "pi").connect()


def test_what_is_no_mqtt_broker_is_told(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute, pytest.raises(BrokerUnreachable, match="does not answer"):
        MqttLink(BrokerSettings("127.0.0.1", mute.getsockname()[1]), "pi").connect(timeout_s=0.5)


def test_subscriptions_and_greetings_outlive_the_broker(tmp_path: Path) -> None:
    with private_broker(tmp_path, hubs=["h"], nodes=["n"]) as broker:
        listener = MqttLink(broker.settings("n"), "n")
        listener.connect()
        heard: queue.Queue[bytes] = queue.Queue()
        listener.subscribe("sled/hub/h/status", lambda _, payload: heard.put(payload))
        speaker = MqttLink(broker.settings("h"), "h", will=("sled/hub/h/status", {"online": False}))
        speaker.connect()
        speaker.greet(lambda: speaker.publish_json("sled/hub/h/status", {"online": True}))
        assert heard.get(timeout=5) == b'{"online": true}'
        broker.stop()
        broker.start()
        status = b""
        while status != b'{"online": true}':  # the dying broker may still have published the will
            status = heard.get(timeout=30)
        speaker.close()
        listener.close()


@contextmanager
def speaking(folder: Path) -> Iterator[tuple[MqttLink, queue.Queue[bytes]]]:
    """A link that publishes, and what another hears of it on sled/hub/h/stats."""
    with private_broker(folder, hubs=["h"], nodes=[]) as broker:
        speaker, listener = MqttLink(broker.settings("h"), "h"), MqttLink(broker.settings("h"), "h")
        for link in (speaker, listener):
            link.connect()
        heard: queue.Queue[bytes] = queue.Queue()
        listener.subscribe("sled/hub/h/stats", lambda _, payload: heard.put(payload))
        yield speaker, heard
        for link in (speaker, listener):
            link.close()


def test_many_threads_publish_at_once_and_no_message_is_torn(tmp_path: Path) -> None:
    kept, droppable, each, half = range(3), range(3, 6), 250, 6_000  # the socket is soon full, the queue is not
    with speaking(tmp_path) as (speaker, heard):

        def speak(thread: int) -> None:
            for number in range(each):
                # By the client itself, for the link would drop what is droppable before it comes to a tear.
                qos = 0 if thread in droppable else 1
                speaker._client.publish("sled/hub/h/stats", bytes([thread, number]) * half, qos=qos)

        with ThreadPoolExecutor(6) as pool:
            list(pool.map(speak, (*kept, *droppable)))
        arrived: dict[int, list[int]] = defaultdict(list)
        while sum(len(arrived[thread]) for thread in kept) < len(kept) * each:
            payload = heard.get(timeout=20)
            assert payload == payload[:2] * half
            arrived[payload[0]].append(payload[1])
    for thread in kept:
        assert arrived[thread] == list(range(each))


def test_a_handler_may_publish(tmp_path: Path) -> None:
    with private_broker(tmp_path, hubs=["h"], nodes=[]) as broker:
        link = MqttLink(broker.settings("h"), "h")
        link.connect()
        heard: queue.Queue[bytes] = queue.Queue()
        link.subscribe("sled/hub/h/info", lambda _, payload: link.publish("sled/hub/h/stats", payload))
        link.subscribe("sled/hub/h/stats", lambda _, payload: heard.put(payload))
        for number in range(50):
            link.publish("sled/hub/h/info", b"%d" % number)
        assert [heard.get(timeout=5) for _ in range(50)] == [b"%d" % number for number in range(50)]
        link.close()


def test_publishing_threads_outlive_the_broker(tmp_path: Path) -> None:
    with private_broker(tmp_path, hubs=["h"], nodes=[]) as broker:
        link = MqttLink(broker.settings("h"), "h")
        link.connect()
        heard: queue.Queue[bytes] = queue.Queue()
        link.subscribe("sled/hub/h/info", lambda _, payload: heard.put(payload))
        done = threading.Event()

        def speak(thread: int) -> None:
            while not done.wait(0.02):
                link.publish("sled/hub/h/info", b"%d" % thread)

        with ThreadPoolExecutor(4) as pool:
            speaking = [pool.submit(speak, thread) for thread in range(4)]
            try:
                heard.get(timeout=5)
                broker.stop()
                broker.start()
                while not heard.empty():
                    heard.get()
                assert {heard.get(timeout=30) for _ in range(100)} == {b"0", b"1", b"2", b"3"}
            finally:
                done.set()
        assert [speaker.result() for speaker in speaking] == [None] * 4
        link.close()


def test_an_encrypted_connection_carries_what_several_threads_publish(tmp_path: Path) -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    ca, key = tmp_path / "ca.pem", tmp_path / "key.pem"
    authority.cert_pem.write_to_path(ca)
    certificate.private_key_and_cert_chain_pem.write_to_path(key)
    key.chmod(0o600)
    with private_broker(tmp_path, hubs=["h"], nodes=[], tls_key=key) as broker:
        link = MqttLink(replace(broker.settings("h"), tls_ca=ca), "h")
        link.connect()
        heard: queue.Queue[bytes] = queue.Queue()
        link.subscribe("sled/hub/h/info", lambda _, payload: heard.put(payload))
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda n: link.publish("sled/hub/h/info", b"%d" % n * 10_000), range(100)))
        assert sorted(heard.get(timeout=10) for _ in range(100)) == sorted(b"%d" % n * 10_000 for n in range(100))
        link.close()
        assert link._client.socket() is None, "the broker was told"
        with pytest.raises(BrokerUnreachable):
            MqttLink(broker.settings("h"), "h").connect(timeout_s=1)


def test_what_was_published_is_sent_before_the_connection_is_closed(tmp_path: Path) -> None:
    with speaking(tmp_path) as (speaker, heard):
        for number in range(
            60
        ):  # 6 MB: more than a socket takes at once, and less than a broker keeps for a reader that is slow
            speaker.publish("sled/hub/h/stats", bytes([number]) * 100_000)
        speaker.close()
        assert speaker._client.socket() is None
        assert [heard.get(timeout=5)[0] for _ in range(60)] == list(range(60))


class _Wakings(WriteThroughClient):
    """Counts how often the reading thread has looked at what there is to do."""

    count = 0

    def loop_misc(self) -> MQTTErrorCode:
        self.count += 1
        return super().loop_misc()


def test_a_broker_that_does_not_read_is_waited_for_without_work() -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        client = _Wakings("client", lambda _: None, OpenGate())
        client.connect("127.0.0.1", mute.getsockname()[1])
        client.start()
        connection, _ = mute.accept()
        connection.recv(1000)
        connection.sendall(bytes([0x20, 3, 0, 0, 0]))  # CONNACK
        while not client.is_connected():
            time.sleep(0.01)
        for _ in range(60):
            client.publish("topic", bytes(2_000_000), qos=1)
        time.sleep(0.2)
        before = client.count
        time.sleep(0.5)
        assert client.want_write()
        assert client.count - before < 5
        client.stop()
        assert client.socket() is None
        connection.close()


def test_a_droppable_message_does_not_wait() -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        link = MqttLink(BrokerSettings("127.0.0.1", mute.getsockname()[1]), "pi")
        link._client.connect("127.0.0.1", mute.getsockname()[1])
        connection, _ = mute.accept()
        connection.recv(1000)
        connection.sendall(bytes([0x20, 3, 0, 0, 0]))  # CONNACK
        link._client.start()
        while not link.connected:
            time.sleep(0.01)
        for _ in range(60):
            link.publish("topic", bytes(200_000))
        waiting = len(link._client._out_packet)
        assert waiting
        link.publish("topic", b"dropped", droppable=True)
        assert len(link._client._out_packet) == waiting
        connection.close()
        link.close()


def test_a_broker_that_acknowledges_nothing_is_connected_to_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mqtt_client, "_SILENCE_S", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        client = WriteThroughClient("client", lambda _: None, OpenGate())
        client.connect("127.0.0.1", mute.getsockname()[1])
        client.start()
        connections = []
        for _ in range(2):
            connection, _ = mute.accept()
            connections.append(connection)
            connection.recv(1000)
            connection.sendall(bytes([0x20, 3, 0, 0, 0]))  # CONNACK
            while not client.is_connected():
                time.sleep(0.01)
            assert client.unanswered_s < 0.5
            client.publish("topic", b"where are you?", qos=1)
        client.stop()
        for connection in connections:
            connection.close()


def test_a_message_that_the_broker_does_not_take_is_told_to_the_sender(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as small:
        link = MqttLink(BrokerSettings("127.0.0.1", small.getsockname()[1]), "pi")
        link._client.connect("127.0.0.1", small.getsockname()[1])
        connection, _ = small.accept()
        connection.recv(1000)
        # CONNACK with properties: Maximum Packet Size 1000, Maximum QoS 0
        connection.sendall(bytes([0x20, 10, 0, 0, 7, 0x27, 0, 0, 3, 0xE8, 0x24, 0]))
        link._client.start()
        while not link.connected:
            time.sleep(0.01)
        with pytest.raises(LinkError, match="packets of at most 1000 bytes"):
            link.publish("topic", bytes(1000))
        link.publish("topic", b"small")
        assert connection.recv(1000)[0] == 0x30, "QoS 0"
        connection.close()
        link.close()


class _Gate(OpenGate):
    def admits(self, topic: bytes, size: int) -> bool:
        return b"stats" not in topic and size < 1000


def test_what_the_gate_refuses_never_comes_to_a_handler(tmp_path: Path) -> None:
    with private_broker(tmp_path, hubs=["h"], nodes=[]) as broker:
        link = MqttLink(broker.settings("h"), "h", gate=_Gate())
        link.connect()
        heard: queue.Queue[tuple[str, bytes]] = queue.Queue()
        link.subscribe("sled/hub/h/+", lambda topic, payload: heard.put((topic, payload)))
        for number in range(2_000):
            link.publish("sled/hub/h/stats", b"flood")
            if number % 100 == 0:
                link.publish("sled/hub/h/info", b"%d" % number)
                link.publish("sled/hub/h/info", bytes(2_000))
        assert [heard.get(timeout=10) for _ in range(20)] == [
            ("sled/hub/h/info", b"%d" % n) for n in range(0, 2_000, 100)
        ]
        assert heard.empty()
        link.close()


@pytest.mark.parametrize("lacking", ["max_qos 0", "retain_available false"])
def test_a_broker_that_lacks_something_is_asked_for_less(lacking: str, tmp_path: Path) -> None:
    config, port = tmp_path / "mosquitto.conf", free_port()
    config.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\n{lacking}\n")
    with started(broker_command(config), tmp_path / "log"):
        while not answers(port):
            time.sleep(0.02)
        link = MqttLink(BrokerSettings("127.0.0.1", port), "h", will=("sled/hub/h/status", {"online": False}))
        link.connect()
        heard: queue.Queue[bytes] = queue.Queue()
        link.subscribe("sled/hub/h/status", lambda _, payload: heard.put(payload))
        link.publish_json("sled/hub/h/status", {"online": True})
        assert heard.get(timeout=5) == b'{"online": true}'
        link.close()
