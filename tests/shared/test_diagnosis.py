"""Why a connection fails: each cause has its own sentence."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
import trustme

from hub.enrolment.access import Role
from hub.enrolment.broker_folder import BrokerFolder
from shared.errors import BrokerRefused, LinkError, SettingsError
from shared.joining import write_credential
from shared.mqtt import MqttLink
from shared.settings import BrokerSettings
from tools.access.trial import Trial, trial_broker
from tools.rig.broker import free_port, private_broker

pytestmark = [
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.usefixtures("failing_handshakes"),
]


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trial]:
    with trial_broker(tmp_path_factory.mktemp("diagnosis")) as running:
        yield running


def settings_of(trial: Trial, title: str) -> BrokerSettings:
    return next(each.settings for each in trial.credentials if each.title == title)


def said(settings: BrokerSettings, name: str = "pi") -> str:
    started = time.monotonic()
    with pytest.raises(LinkError) as caught:
        MqttLink(settings, name).connect()
    assert time.monotonic() - started < 9, "nobody waits for the timeout"
    return str(caught.value)


def test_a_wrong_ca(trial: Trial, tmp_path: Path) -> None:
    other = tmp_path / "other.crt"
    trustme.CA().cert_pem.write_to_path(other)
    text = said(replace(settings_of(trial, "node `pi`"), tls_ca=other))
    assert f"is not signed by {other}: set broker.tls_ca" in text


def test_a_host_that_the_certificate_does_not_name(trial: Trial) -> None:
    assert "does not name '127.0.0.2'" in said(replace(settings_of(trial, "node `pi`"), host="127.0.0.2"))


@pytest.mark.parametrize(("days", "says"), [(-1, "has expired: look at this device's clock"), (2, "is not valid yet")])
def test_a_certificate_out_of_its_time(tmp_path: Path, days: int, says: str) -> None:
    authority, then = trustme.CA(), datetime.now(timezone.utc) + timedelta(days=days)
    ca, key = tmp_path / "ca.pem", tmp_path / "key.pem"
    authority.cert_pem.write_to_path(ca)
    early, late = (None, then) if days < 0 else (then, None)
    authority.issue_cert("127.0.0.1", not_before=early, not_after=late).private_key_and_cert_chain_pem.write_to_path(
        key
    )
    with private_broker(tmp_path, hubs=[], nodes=["pi"], tls_key=key) as broker:
        assert says in said(replace(broker.settings("pi"), tls_ca=ca))


@pytest.mark.parametrize("title", ["node `pi`", "node, by certificate"])
def test_a_plain_client_on_a_port_for_tls(trial: Trial, title: str) -> None:
    plain = replace(settings_of(trial, title), tls_ca=None, tls_cert=None, tls_key=None)
    assert "speaks TLS, and this side does not: set broker.tls_ca" in said(plain)


def test_a_client_with_tls_on_a_plain_port(trial: Trial, tmp_path: Path) -> None:
    with private_broker(tmp_path, hubs=[], nodes=["pi"]) as broker:
        encrypted = replace(broker.settings("pi"), tls_ca=settings_of(trial, "node `pi`").tls_ca)
        assert "speaks MQTT without TLS" in said(encrypted)


def test_client_certificates(trial: Trial, tmp_path: Path) -> None:
    assert "wants a client certificate: set broker.tls_cert" in said(settings_of(trial, "no certificate"))
    assert "is revoked: have a new one made" in said(settings_of(trial, "revoked certificate"))
    other = BrokerFolder(tmp_path / "other")
    other.create(["127.0.0.1"], "sled", free_port(), free_port())
    strange = write_credential(other.enroll("pico", Role.NODE, certificate=True), tmp_path / "pico.toml")
    right = settings_of(trial, "node, by certificate")
    assert "does not know the authority" in said(replace(right, tls_cert=strange.tls_cert, tls_key=strange.tls_key))
    assert strange.tls_key is not None
    strange.tls_key.chmod(0o640)
    with pytest.raises(SettingsError, match="others can read"):
        MqttLink(strange, "pico")
    with pytest.raises(SettingsError, match="belong together"):
        MqttLink(replace(right, tls_key=None), "pico")
    with pytest.raises(SettingsError, match="needs TLS"):
        MqttLink(replace(right, tls_ca=None), "pico")
    with pytest.raises(SettingsError, match="cannot use the client certificate"):
        MqttLink(replace(right, tls_cert=right.tls_ca), "pico")
    with pytest.raises(SettingsError, match="cannot read the CA certificate"):
        MqttLink(replace(right, tls_ca=tmp_path / "nothing"), "pico")


def test_passwords(trial: Trial) -> None:
    for title, says in (
        ("rotated password", "check the user name and the password file ('jetson'"),
        ("no credential", "set broker.username and broker.password_file, or take a bundle"),
    ):
        credential = next(each for each in trial.credentials if each.title == title)
        with pytest.raises(BrokerRefused) as caught:
            MqttLink(credential.settings, credential.user).connect()
        assert says in str(caught.value)
