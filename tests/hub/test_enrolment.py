"""`sled-hub init-broker`, `enroll`, `rotate`, `revoke` and `join`, as they are typed, with a real mosquitto."""

from __future__ import annotations

import getpass
import os
import re
import stat
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import edge_node.cli
import hub.cli
from edge_node.settings import NodeSettings
from hub.fleet.settings import FleetSettings
from hub.settings import HubSettings
from shared.bundle import read_bundle
from shared.settings import load
from tests.odd_inputs.case import run
from tools.rig.broker import free_port, running_broker

DEBIAN = """\
pid_file {here}/mosquitto.pid
persistence true
persistence_location {here}/
log_dest file {here}/mosquitto.log
include_dir {here}/conf.d
"""


def typed(app: str, *words: str, fails: bool = False) -> str:
    """What `sled-APP WORDS` prints."""
    program = {"hub": hub.cli.app, "node": edge_node.cli.app}[app]
    said = run(program, list(words))
    assert said.status == (1 if fails else 0), said
    return said.out + said.err


@dataclass(frozen=True)
class Broker:
    folder: Path
    here: Path
    port: int

    @property
    def log(self) -> str:
        return (self.here / "mosquitto.log").read_text()

    def typed(self, *words: str, fails: bool = False) -> str:
        place = ["--out" if words[0] == "init-broker" else "--folder", str(self.folder)]
        before = self.reloads
        told = typed("hub", *words, *place, "--pid-file", str(self.here / "mosquitto.pid"), fails=fails)
        deadline = time.monotonic() + 5
        while "reads the files anew" in told and self.reloads == before:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        return told

    @property
    def reloads(self) -> int:
        log = self.here / "mosquitto.log"
        return log.read_text().count("Reloading config.") if log.exists() else 0


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Broker:
    """The files of a broker with hub den and node pi; bundles lie in the current folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    here = Broker(tmp_path / "broker", tmp_path, free_port())
    ports = ["--port", str(here.port), "--certificate-port", str(free_port())]
    here.typed("init-broker", "--host", "127.0.0.1", "--hub", "den", "--node", "pi", *ports)
    return here


@pytest.fixture
def broker(files: Broker, tmp_path: Path) -> Iterator[Broker]:
    """That broker, running: included by a configuration like Debian's own."""
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d" / "sled.conf").symlink_to(files.folder / "sled.conf")
    # The folder of a test is closed to the user that mosquitto would become.
    (tmp_path / "mosquitto.conf").write_text(DEBIAN.format(here=tmp_path) + f"user {getpass.getuser()}\n")
    with running_broker(tmp_path / "mosquitto.conf", files.port, tmp_path / "output"):
        yield files


def test_the_broker_has_no_limit_that_messages_use_up(files: Broker) -> None:
    """mosquitto 2.0.11 counts memory that it has freed against `memory_limit`, and stops when that is used up."""
    written = (files.folder / "sled.conf").read_text().splitlines()
    assert not [line for line in written if line.startswith("memory_limit")]
    assert "max_queued_bytes 4194304" in written


def test_a_bundle_joins_and_the_settings_follow(broker: Broker, tmp_path: Path) -> None:
    assert "knows node 'pi'" in typed("node", "join", "pi.bundle")
    assert "knows hub 'den'" in typed("hub", "join", "den.bundle")
    node, served = load(NodeSettings, "node", {}), load(HubSettings, "hub", {})
    assert (node.name, node.broker.port, served.name) == ("pi", broker.port, "den")
    assert node.broker.password() == read_bundle(Path("pi.bundle")).password
    (tmp_path / ".config/sled/node.toml").write_text("draft_length = 3  # mine\n")
    broker.typed("rotate", "pi", "--out", "new.bundle")
    typed("node", "join", "new.bundle")
    again = load(NodeSettings, "node", {})
    assert again.draft_length == 3
    assert again.broker.password() == read_bundle(Path("new.bundle")).password
    assert (tmp_path / ".config/sled/node.toml").read_text() == "draft_length = 3  # mine\n"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.usefixtures("failing_handshakes")
def test_a_client_certificate_joins_and_ends(broker: Broker) -> None:
    broker.typed("enroll", "pico", "--client-certificate")
    typed("node", "join", "pico.bundle")
    settings = load(NodeSettings, "node", {}).broker
    assert settings.password_file is None
    assert settings.tls_key is not None
    assert stat.S_IMODE(settings.tls_key.stat().st_mode) == 0o600
    broker.typed("revoke", "pico")
    assert "is revoked" in typed("node", "join", "pico.bundle", fails=True)


def test_an_observer_joins_and_sees_the_fleet(broker: Broker, tmp_path: Path) -> None:
    assert "and there: sled-hub join desk.bundle" in broker.typed("enroll", "desk", "--role", "observer")
    joined = typed("hub", "join", "desk.bundle")
    assert "knows observer 'desk'" in joined
    assert joined.endswith("the fleet is shown by: sled-hub top\n")
    assert load(FleetSettings, "fleet", {}).name == "desk"
    assert not (tmp_path / ".config/sled/hub.joined.toml").exists(), "a hub on the same machine keeps its own"
    assert "nothing was heard of hubs or nodes below 'sled'" in typed("hub", "top", "--once", fails=True)


def test_a_home_joins_to_see_the_fleet_and_ask(broker: Broker) -> None:
    broker.typed("enroll", "page", "--role", "home")
    assert "knows home 'page'" in typed("hub", "join", "page.bundle")
    assert load(FleetSettings, "fleet", {}).name == "page"


def test_a_connection_ends_with_its_password(broker: Broker) -> None:
    told = broker.typed("revoke", "pi")
    assert re.search(r"mosquitto \(process \d+\) reads the files anew", told)
    assert "refused the connection" in typed("node", "join", "pi.bundle", fails=True)
    assert not list(Path(".config/sled").iterdir()), "what did not work was not kept"


def test_mosquitto_starts_and_reloads_without_a_warning(broker: Broker) -> None:
    typed("node", "join", "pi.bundle")
    broker.typed("enroll", "tablet", "--role", "asker")
    lines = broker.log.splitlines()
    assert any("mosquitto version" in line and "running" in line for line in lines)
    # Of the test's own user, and of its look at the port, which speaks no TLS and hangs up.
    expected = (
        "run as root|Client connection from 127.0.0.1 failed|unexpected eof while reading|Client <unknown> disconnected"
    )
    lines = [line for line in lines if not re.search(expected, line)]
    assert not [line for line in lines if re.search("warning|error|deprecat", line, re.IGNORECASE)]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has files of mosquitto's own user")
def test_modes_and_owners(files: Broker) -> None:
    owners = {path.name: (path.owner(), oct(stat.S_IMODE(path.stat().st_mode))) for path in files.folder.iterdir()}
    assert owners == {
        "acl": ("mosquitto", "0o600"), "passwd": ("mosquitto", "0o600"), "broker.key": ("mosquitto", "0o600"),
        "broker.crt": ("mosquitto", "0o644"), "ca.crt": ("mosquitto", "0o644"), "revoked.pem": ("mosquitto", "0o600"),
        "sled.conf": ("mosquitto", "0o644"), "ca.key": ("root", "0o600"), "users.json": ("root", "0o600"),
    }  # fmt: skip
    assert stat.S_IMODE(Path("pi.bundle").stat().st_mode) == 0o600
    assert (stat.S_IMODE(files.folder.stat().st_mode), files.folder.group()) == (0o750, "mosquitto")


def test_a_second_run_adds(files: Broker) -> None:
    Path("pi.bundle").unlink()
    before = (files.folder / "ca.crt").read_text(), (files.folder / "passwd").read_text()
    (files.folder / "acl").write_text((files.folder / "acl").read_text() + "user ha\ntopic readwrite homeassistant/#\n")
    with (files.folder / "passwd").open("a") as file:
        file.write("ha:another program's line\n")
    told = files.typed("init-broker", "--host", "broker.local", "--host", "192.0.2.7", "--hub", "den", "--hub", "attic")
    assert "now names broker.local, 192.0.2.7 too" in told
    assert Path("attic.bundle").exists()
    assert not Path("pi.bundle").exists()
    assert (files.folder / "ca.crt").read_text() == before[0]
    passwords, rules = (files.folder / "passwd").read_text(), (files.folder / "acl").read_text()
    assert passwords.startswith(before[1] + "ha:another")
    assert rules.endswith("user ha\ntopic readwrite homeassistant/#\n")
    assert "topic write sled/hub/attic/open/pi" in rules
    named = subprocess.run(
        ["openssl", "x509", "-noout", "-ext", "subjectAltName", "-in", str(files.folder / "broker.crt")],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert {"DNS:broker.local", "IP Address:192.0.2.7", "IP Address:127.0.0.1"} <= set(
        re.split(r",?\s{1,}(?=DNS|IP)", named.strip())
    )


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["enroll", "pi", "--out", "x"], "'pi' is enrolled already, as a node"),
        (["enroll", "den", "--out", "x"], "'den' is enrolled already, as a hub"),
        (["enroll", "a/b"], "must be 1 to 64 letters"),
        (["enroll", "new", "--out", "pi.bundle"], "pi.bundle is there already"),
        (["enroll", "new", "--out", "nowhere/new.bundle"], "`sled-hub rotate new` makes its bundle"),
        (["rotate", "nobody"], "nobody is enrolled as 'nobody'; there are: den, pi"),
        (["revoke", "nobody"], "nobody is enrolled as 'nobody'"),
        (["init-broker", "--node", "den"], "'den' is enrolled already, as a hub"),
        (["init-broker", "--prefix", "other"], "this broker's prefix is sled"),
        (["init-broker", "--host", "no host"], "'no host' is neither a host's name nor an address"),
    ],
)
def test_what_is_refused(files: Broker, words: list[str], says: str) -> None:
    assert says in files.typed(*words, fails=True)


def test_folders_that_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert "is no broker's folder; make one" in typed("hub", "revoke", "pi", "--folder", "nothing", fails=True)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").touch()
    assert "holds other files" in typed("hub", "init-broker", "--out", "full", fails=True)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "users.json").write_text("[")
    assert "register of users is damaged" in typed("hub", "enroll", "pi", "--folder", "broken", fails=True)


def test_bundles_that_are_refused(files: Broker, tmp_path: Path) -> None:
    assert "is of hub 'den'; a node's is made with" in typed("node", "join", "den.bundle", fails=True)
    (tmp_path / ".config/sled").mkdir(parents=True)
    (tmp_path / ".config/sled/node.toml").write_text('name = "other"\n[broker]\nport = 1\nkeepalive_s = 9\n')
    told = typed("node", "join", "pi.bundle", fails=True)
    assert "overrules the bundle: take broker.port, name out of it" in told
    Path("pi.bundle").chmod(0o644)
    assert "others can read pi.bundle" in typed("node", "join", "pi.bundle", fails=True)
    secret = read_bundle(Path("den.bundle")).password
    for content in (f'password = "{secret}"\n', f'name = "{secret}', "a" * 60_000, "\0", ""):
        Path("odd.bundle").write_text(content)
        Path("odd.bundle").chmod(0o600)
        told = typed("hub", "join", "odd.bundle", fails=True)
        assert "odd.bundle is not a bundle, or it is damaged" in told
        assert secret not in told
    assert "cannot read the bundle" in typed("hub", "join", "nothing.bundle", fails=True)


def test_nothing_secret_is_printed_or_in_a_representation(broker: Broker, tmp_path: Path) -> None:
    bundle = read_bundle(Path("pi.bundle"))
    assert bundle.password not in repr(bundle)
    printed = typed("node", "join", "pi.bundle") + broker.typed("enroll", "pico", "--client-certificate")
    assert bundle.password not in printed
    assert "PRIVATE KEY" not in printed
    for path in (*broker.folder.iterdir(), *tmp_path.glob("mosquitto.*"), tmp_path / "output"):
        assert bundle.password not in path.read_text(errors="replace"), path
