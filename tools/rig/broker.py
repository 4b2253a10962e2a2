"""A private mosquitto on a free loopback port, with the limits and rules of `sled-hub init-broker` and a password for every user."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from hub.enrolment.access import Role, acl
from hub.enrolment.configuration import ACL, PASSWORDS, Listener, configuration
from hub.enrolment.passwords import new_password, password_line
from shared.private_file import write_file
from shared.settings import BrokerSettings
from shared.topics import Topics
from tools.rig.process import started

_START_S = 10.0


class PrivateBroker:
    """A broker whose users have a password file each, and which can be ended and started again with the same files."""

    def __init__(self, port: int, folder: Path, config: Path) -> None:
        self.port = port
        self.folder = folder
        self.command = broker_command(config)
        self._config = config
        self._log = folder / "mosquitto.log"
        self._running = ExitStack()
        self.start()

    def start(self) -> None:
        """Start it, and wait until it listens. Raises RuntimeError when it does not."""
        self.process = self._running.enter_context(running_broker(self._config, self.port, self._log))

    def stop(self) -> None:
        """End it, and let it say so."""
        self._running.close()

    def crash(self) -> None:
        """End it at once."""
        self.process.kill()
        self.stop()

    def last_words(self, longest: int = 1000) -> str:
        """With what status it has ended, if it has, and the end of its log."""
        return f"status {self.process.poll()}: {self._log.read_text(errors='replace')[-longest:]}"

    def password_file(self, user: str) -> Path:
        """The file that holds the user's password."""
        return _password_file(self.folder, user)

    def settings(self, user: str) -> BrokerSettings:
        """How `user` reaches the broker."""
        return BrokerSettings(host="127.0.0.1", port=self.port, username=user, password_file=self.password_file(user))


@contextmanager
def private_broker(
    folder: Path,
    hubs: Sequence[str],
    nodes: Sequence[str],
    *,
    homes: Sequence[str] = (),
    observers: Sequence[str] = (),
    crowds: Sequence[str] = (),
    tls_key: Path | None = None,
    also: Sequence[Listener] = (),
    more: str = "",
) -> Iterator[PrivateBroker]:
    """Run mosquitto with its files in `folder` until the context ends; raises RuntimeError when it does not start.

    `homes` may ask nodes and read what they answer, `observers` the state of all. `crowds` are users that may speak in the name of any node, as thousands of nodes would. With `tls_key`, a file with a
    private key and its certificates, connections are encrypted. `also` are further ports where it listens, `more` is what else its configuration has.
    """
    port = free_port()
    lines = []
    for user in (*hubs, *nodes, *homes, *observers, *crowds):
        password = new_password()
        write_file(_password_file(folder, user), password)
        lines.append(password_line(user, password) + "\n")
    write_file(folder / PASSWORDS, "".join(lines))
    of_roles = {Role.HUB: hubs, Role.NODE: nodes, Role.HOME: homes, Role.OBSERVER: observers}
    roles = {user: role for role, users in of_roles.items() for user in users}
    of_crowds = "".join(f"\nuser {user}\ntopic readwrite {Topics().prefix}/#\n" for user in crowds)
    write_file(folder / ACL, acl(roles, Topics()) + of_crowds)
    listener = Listener(port, "127.0.0.1", certificate=tls_key, key=tls_key)
    config = folder / "mosquitto.conf"
    config.write_text(f"user {getpass.getuser()}\n{configuration(folder, [listener, *also])}\n{more}")
    broker = PrivateBroker(port, folder, config)
    try:
        yield broker
    finally:
        broker.stop()


@contextmanager
def running_broker(config: Path, port: int, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run mosquitto with that configuration, which has it listen at `port`; raises RuntimeError when it does not start."""
    with started(broker_command(config), log) as process:
        deadline = time.monotonic() + _START_S
        while not answers(port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"mosquitto did not start: {log.read_text().strip()}")
            time.sleep(0.02)
        yield process


def _password_file(folder: Path, user: str) -> Path:
    return folder / f"{user}.password"


def broker_command(config: Path) -> list[str]:
    """The command line of a mosquitto with that configuration. Raises RuntimeError when it is not installed."""
    return [_program("mosquitto"), "-c", str(config)]


def answers(port: int) -> bool:
    """Whether somebody accepts connections at that port of this machine."""
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def free_port() -> int:
    """A TCP port of the loopback that nobody uses just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _program(name: str) -> str:
    """The path of a program of mosquitto's; Debian keeps daemons where a user's PATH does not look."""
    found = shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"]))
    if found is None:
        raise RuntimeError("mosquitto is not installed; run: make setup")
    return found
