"""A private mosquitto on a free loopback port, configured from deploy/mosquitto, with a password for every user."""

from __future__ import annotations

import getpass
import os
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from shared.settings import BrokerSettings
from tools.rig.process import started

_DEPLOY = Path(__file__).parent.parent.parent / "deploy" / "mosquitto"
_START_S = 10.0


@dataclass(frozen=True)
class PrivateBroker:
    """A running broker; `users` have a password file each."""

    port: int
    folder: Path
    command: list[str]
    """What it was started with: starts it again on the same port with the same files."""
    process: subprocess.Popen[bytes]
    stop: Callable[[], None]
    """Ends the broker before its context does, as a crash would."""

    def password_file(self, user: str) -> Path:
        """The file that holds the user's password."""
        return _password_file(self.folder, user)

    def settings(self, user: str) -> BrokerSettings:
        """How `user` reaches the broker."""
        return BrokerSettings(host="127.0.0.1", port=self.port, username=user, password_file=self.password_file(user))


@contextmanager
def private_broker(
    folder: Path, hubs: Sequence[str], nodes: Sequence[str], *, tls_key: Path | None = None
) -> Iterator[PrivateBroker]:
    """Run mosquitto with its files in `folder` until the context ends; raises RuntimeError when it does not start.

    With `tls_key`, a file with a private key and its certificates, connections are encrypted.
    """
    passwd = _program("mosquitto_passwd")
    port = _free_port()
    password_file, acl_file = folder / "passwd", folder / "acl"
    password_file.touch(mode=0o600)
    for user in (*hubs, *nodes):
        password = secrets.token_urlsafe(24)
        own_file = _password_file(folder, user)
        own_file.touch(mode=0o600)
        own_file.write_text(password)
        subprocess.run([passwd, "-b", str(password_file), user, password], check=True, capture_output=True)
    acl_file.touch(mode=0o600)
    acl_file.write_text(_acl(hubs))
    config = folder / "mosquitto.conf"
    encrypted = f"keyfile {tls_key}\ncertfile {tls_key}\n" if tls_key else ""
    config.write_text(_config(port, password_file, acl_file) + encrypted)
    command = broker_command(config)
    with started(command, log=folder / "mosquitto.log") as process:
        deadline = time.monotonic() + _START_S
        while not _answers(port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"mosquitto did not start: {(folder / 'mosquitto.log').read_text().strip()}")
            time.sleep(0.02)

        def stop() -> None:
            process.terminate()
            process.wait()

        yield PrivateBroker(port, folder, command, process, stop)


def _password_file(folder: Path, user: str) -> Path:
    return folder / f"{user}.password"


def broker_command(config: Path) -> list[str]:
    """The command line of a mosquitto with that configuration. Raises RuntimeError when it is not installed."""
    return [_program("mosquitto"), "-c", str(config)]


def _config(port: int, password_file: Path, acl_file: Path) -> str:
    """deploy/mosquitto/sled.conf with this broker's listener and files, run as the user that starts it."""
    kept = (_DEPLOY / "sled.conf").read_text().split("\nlistener ", 1)[0]
    return (
        f"{kept}\nuser {getpass.getuser()}\nlistener {port} 127.0.0.1\n"
        f"password_file {password_file}\nacl_file {acl_file}\n"
    )


def _acl(hubs: Sequence[str]) -> str:
    """deploy/mosquitto/sled.acl with a block for each hub."""
    head, block = (_DEPLOY / "sled.acl").read_text().split("\nuser HUB\n")
    block, patterns = block.split("\n\n", 1)
    blocks = [f"\nuser {hub}\n{block.replace('HUB', hub)}\n" for hub in hubs]
    return "\n".join([head, *blocks, patterns])


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _free_port() -> int:
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
