"""The MQTT client: what it survives."""

from __future__ import annotations

import queue
import socket
from pathlib import Path

import pytest

from shared.errors import BrokerRefused, BrokerUnreachable
from shared.mqtt import MqttLink
from shared.settings import BrokerSettings
from tools.broker import broker_command, private_broker
from tools.process import started
from tools.testbed import HUB, HubBed


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


def test_tcp_nodelay_is_set(bed: HubBed) -> None:
    link = MqttLink(bed.broker.settings("stranger"), "stranger")
    link.connect()
    sock = link._client.socket()
    assert isinstance(sock, socket.socket)
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0
    link.close()


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
        with started(broker_command(tmp_path / "mosquitto.conf"), tmp_path / "second.log"):
            status = b""
            while status != b'{"online": true}':  # the dying broker may still have published the will
                status = heard.get(timeout=30)
            speaker.close()
            listener.close()
