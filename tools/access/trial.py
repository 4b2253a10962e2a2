"""A broker as `sled-hub init-broker` makes it, and every kind of credential tried on every topic of the protocol."""

from __future__ import annotations

import getpass
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from hub.enrolment.access import DISCOVERY, HUB_STATE, NODE_STATE, Role
from hub.enrolment.broker_folder import BrokerFolder
from hub.enrolment.configuration import ACL, PASSWORDS
from hub.enrolment.passwords import new_password, password_line, with_line
from shared.bundle import Bundle
from shared.discovery import birth_topic, config_topic
from shared.errors import LinkError
from shared.joining import write_credential
from shared.mqtt import MqttLink
from shared.private_file import write_file
from shared.settings import BrokerSettings
from shared.topics import Topics
from tools.rig.broker import free_port, running_broker

HOST = "127.0.0.1"
_RELOAD_S = 0.5  # seconds in which mosquitto sees a signal
_OVERSEER = "overseer"  # may read and write everything, by a rule of the kind that people add


@dataclass(frozen=True)
class Credential:
    """How somebody comes to the broker. The topics are tried as those of `hub`, `node` and `asker`."""

    title: str
    settings: BrokerSettings
    user: str
    hub: str = "den"
    node: str = "pi"
    asker: str = "tablet"


@dataclass(frozen=True)
class Rights:
    """The topics that may be read and written, as forms; `admitted` is whether the broker accepts a connection at all."""

    admitted: bool
    read: frozenset[str] = frozenset()
    write: frozenset[str] = frozenset()


def topic_forms() -> dict[str, tuple[str, ...]]:
    """Every kind of topic, and its levels behind the prefix, with HUB, NODE and ASKER to be filled in."""
    topics = Topics()
    every = [
        *(topics.hub("HUB", leaf) for leaf in HUB_STATE), topics.open("HUB", "NODE"), topics.open("HUB", "HUB"),
        topics.opened("NODE"), topics.draft("HUB", "NODE"), topics.verdict("HUB", "NODE"),
        topics.offer("HUB"), topics.fetch("HUB", "NODE"), topics.piece("HUB", "NODE"),
        topics.echo("NODE", "there"), topics.echo("NODE", "back"),
        *(topics.node("NODE", leaf, asker) for asker in ("", "ASKER", "NODE") for leaf in ("ask", "cancel")),
        *(each for asker in ("", "ASKER", "NODE") for answer in [topics.node("NODE", "answer", asker)] for each in (answer, topics.stream(answer))),
        topics.node("NODE", "mode"), topics.node("NODE", "call"), *(topics.ros("NODE", leaf) for leaf in ("call", "say")),
        *(topics.node("NODE", leaf) for leaf in NODE_STATE),
        *(config_topic(DISCOVERY, each) for each in ("HUB", "NODE")), birth_topic(DISCOVERY), topics.flush, f"{topics.prefix}/else", "else",
    ]  # fmt: skip
    return {form: tuple(form.split("/")) for form in every}


@dataclass(frozen=True)
class Trial:
    """A running broker with users of every kind."""

    credentials: list[Credential]
    overseer: BrokerSettings
    process: subprocess.Popen[bytes]

    def reload(self) -> None:
        """Have mosquitto read its files anew; it has when the next connection is accepted."""
        self.process.send_signal(signal.SIGHUP)
        time.sleep(_RELOAD_S)

    def rights(self, credential: Credential) -> Rights:
        """Try everything with one credential."""
        link, overseer = MqttLink(credential.settings, credential.user), MqttLink(self.overseer, _OVERSEER)
        try:
            link.connect()
        except LinkError:
            return Rights(admitted=False)
        overseer.connect()
        try:
            filled = {form: _filled(levels, credential) for form, levels in topic_forms().items()}
            link.on_refused = lambda _: None
            marker = _refusals(link, [])
            written = frozenset(form for form, topic in filled.items() if _refusals(link, [topic]) == marker)
            heard: set[str] = set()
            # By all and one by one: what a filter does not let through another might.
            for topic_filter in ("#", "+/#", *filled.values()):
                link.subscribe(topic_filter, lambda topic, _: heard.add(topic), retained=False)
            for topic in filled.values():
                overseer.publish(topic, b"")
            overseer.flush()
            for _ in range(2):  # the broker's word on a marker comes behind all that it has for this client
                link.flush()
            return Rights(True, frozenset(form for form, topic in filled.items() if topic in heard), written)
        finally:
            link.close()
            overseer.close()


@contextmanager
def serving(broker: BrokerFolder, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run mosquitto with a broker's folder; its log goes into `folder`."""
    config = folder / "mosquitto.conf"
    config.write_text(f"user {getpass.getuser()}\nlog_dest stdout\ninclude_dir {broker.path}\n", encoding="utf-8")
    with running_broker(config, broker.register().port, folder / "mosquitto.log") as process:
        yield process


@contextmanager
def trial_broker(folder: Path) -> Iterator[Trial]:
    """Run mosquitto with a new broker's folder in `folder` until the context ends."""
    broker = BrokerFolder(folder / "broker")
    broker.create([HOST, "localhost"], "sled", free_port(), free_port())
    bundles = {
        name: broker.enroll(name, role, certificate=certificate)
        for name, role, certificate in (
            ("den", Role.HUB, False), ("attic", Role.HUB, False), ("pi", Role.NODE, False), ("jetson", Role.NODE, False),
            ("pico", Role.NODE, True), ("lost", Role.NODE, False), ("gone", Role.NODE, True), ("zero", Role.NODE, True),
            ("tablet", Role.ASKER, False), ("phone", Role.ASKER, False), ("house", Role.HOME, False), ("panel", Role.OBSERVER, False),
        )
    }  # fmt: skip
    for name in ("jetson", "zero"):
        bundles[f"{name}, old"] = bundles[name]
        bundles[name] = broker.rotate(name)
    for name in ("lost", "gone"):
        broker.revoke(name)
    overseer = _add_overseer(broker, bundles["panel"], folder)
    with serving(broker, folder) as process:
        yield Trial(_credentials(bundles, folder), overseer, process)


def _credentials(bundles: dict[str, Bundle], folder: Path) -> list[Credential]:
    files = {name: write_credential(bundle, folder / f"{name}.toml") for name, bundle in bundles.items()}

    def of(title: str, who: str, **names: str) -> Credential:
        return Credential(title, files[who], bundles[who].name, **names)

    nameless = replace(files["pi"], password_file=None)
    return [
        of("hub `den`", "den"), of("another hub", "attic"),
        of("node `pi`", "pi"), of("node, by certificate", "pico", node="pico"), of("another node", "jetson"),
        of("asker `tablet`", "tablet"), of("another asker", "phone"), of("home `house`", "house"), of("observer", "panel"),
        of("revoked password", "lost", node="lost"), of("revoked certificate", "gone", node="gone"),
        of("rotated password", "jetson, old", node="jetson"), of("rotated certificate", "zero, old", node="zero"),
        Credential("no credential", nameless, "pi"),
        Credential("no certificate", replace(nameless, port=files["pico"].port), "pico", node="pico"),
        Credential("another's name", replace(files["pi"], username="den"), "den"),
    ]  # fmt: skip


def _add_overseer(broker: BrokerFolder, other: Bundle, folder: Path) -> BrokerSettings:
    """A user by rules of one's own, which stay when the folder's files are written anew."""
    passwords, acl = broker.path / PASSWORDS, broker.path / ACL
    password = new_password()
    write_file(passwords, with_line(passwords.read_text(), _OVERSEER, password_line(_OVERSEER, password)))
    write_file(acl, f"{acl.read_text()}user {_OVERSEER}\ntopic readwrite #\n")
    broker.renew([])
    return write_credential(replace(other, name=_OVERSEER, password=password), folder / f"{_OVERSEER}.toml")


def _filled(levels: tuple[str, ...], credential: Credential) -> str:
    names = {"HUB": credential.hub, "NODE": credential.node, "ASKER": credential.asker}
    return "/".join(names.get(level, level) for level in levels)


def _refusals(link: MqttLink, topics: Sequence[str]) -> int:
    """How many messages the broker refuses of those on `topics` and a marker behind them."""
    before = link.refused_publishes
    for topic in topics:
        link.publish(topic, b"")
    link.flush()
    return link.refused_publishes - before
