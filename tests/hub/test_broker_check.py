"""A hub finds out what the broker does not let it do, before it loads its model."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import tools.rig.broker
from hub.broker_check import check_broker
from hub.enrolment.access import acl
from shared.errors import BrokerRefused
from shared.mqtt import MqttLink
from tools.demo import hub_command
from tools.rig.broker import private_broker


def test_all_that_a_hub_needs_is_allowed_and_its_state_stays_as_it_was(tmp_path: Path) -> None:
    with private_broker(tmp_path, hubs=["den"], nodes=["pi"]) as broker:
        serving, node = MqttLink(broker.settings("den"), "den"), MqttLink(broker.settings("pi"), "pi")
        heard: list[bytes] = []
        for link in (serving, node):
            link.connect()
        serving.publish_json("sled/hub/den/status", {"online": True})
        serving.flush()
        node.subscribe("sled/hub/den/status", lambda _, payload: heard.append(payload))
        check_broker(broker.settings("den"), "den")
        node.flush()
        kept: list[bytes] = []
        node.subscribe("sled/hub/+/status", lambda _, payload: kept.append(payload))
        node.flush()
        assert kept == [b'{"online": true}']
        for link in (serving, node):
            link.close()
        assert set(heard) == {b'{"online": true}', b"{}"}, "nodes take no notice of the latter"


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("topic read sled/hub/den/open/+", "read sled/hub/den/open/+"),
        ("topic read sled/session/den/+/draft", "read sled/session/den/+/draft"),
        ("topic readwrite sled/hub/den/status", "write sled/hub/den/status"),
        ("topic write sled/session/den/+/verdict", "write sled/session/den/den/verdict"),
        ("topic write sled/node/+/opened", "write sled/node/den/opened"),
        ("topic write sled/flush", "write sled/flush"),
    ],
)
def test_a_missing_rule_is_named_with_its_user_and_the_remedy(
    line: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tools.rig.broker, "acl", lambda *given: acl(*given).replace(line, ""))
    monkeypatch.setattr("hub.broker_check._ARRIVAL_S", 0.5)
    with private_broker(tmp_path, hubs=["den"], nodes=[]) as broker, pytest.raises(BrokerRefused) as caught:
        check_broker(broker.settings("den"), "den")
    assert f"does not let its user 'den' {says}" in str(caught.value)
    assert "sled-hub enroll den --role hub" in str(caught.value)


def test_a_user_without_a_block_is_told_before_anything_is_loaded(tmp_path: Path) -> None:
    with private_broker(tmp_path, hubs=["den"], nodes=["pi"]) as broker:
        wrong = replace(broker.settings("den"), password_file=broker.password_file("pi"))
        for settings, name, says in (
            (broker.settings("pi"), "attic", "does not let its user 'pi' write sled/node/attic/opened"),
            (wrong, "den", "refused the connection: Not authorized"),
        ):
            command = [*hub_command(settings, name), f"--broker-username={settings.username}"]
            done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
            assert done.returncode == 1
            assert says in done.stderr
            assert "importing" not in done.stderr
            assert "Traceback" not in done.stderr


def test_the_check_needs_no_model() -> None:
    code = "import sys, hub.cli; print([name for name in ('torch', 'transformers', 'cryptography') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
