"""A device that sends without regard for others, as a process of its own: MQTT packets written straight to a socket.

    python -m tools.rig.flooder --to 127.0.0.1:1883 --user pi --password-file FILE --hub den --kind opens --rate 2500

Sends until it is ended, at QoS 1, and reads nothing of what it is told but to throw it away.
"""

from __future__ import annotations

import random
import select
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from shared.codec import SESSION_BYTES, encode
from shared.errors import SledError
from shared.limits import MAX_APPEND, MAX_FRAME, MAX_PIECE
from shared.messages import Draft, Fetch, Open
from shared.program import run
from shared.settings import BrokerSettings
from shared.topics import Topics
from tools.rig.process import dying_with_parent

_CRAFTED = bytes.fromhex("930103dd000f4240")  # a draft whose round is an array of a million elements, as it says
_PIECE_S = 0.004  # seconds between two writes, at least
_OWN_SESSIONS = 5_000
_MOST_PACKETS = 5_000  # that differ
_PUBLISH_QOS_1 = 0x32
_RETAIN = 0x01


class Kind(str, Enum):
    """What is sent."""

    OPENS = "opens"  # of ever new sessions
    DRAFTS = "drafts"  # of sessions that nobody opened
    JUNK = "junk"  # random bytes of the size of a draft
    LARGE = "large"  # prompts as long as a frame can be
    COSTLY = "costly"  # frames made to take long to read: as many arrays as fit
    FETCHES = "fetches"  # for pieces of a file that nobody has
    RETAINED = "retained"  # on the device's own topic, for the broker to keep


RATES = {
    Kind.OPENS: 2_500,
    Kind.DRAFTS: 2_500,
    Kind.JUNK: 2_500,
    Kind.LARGE: 10,
    Kind.COSTLY: 10,
    Kind.FETCHES: 2_500,
    Kind.RETAINED: 250,
}


@dataclass(frozen=True)
class _Publish:
    topic: str
    payload: bytes
    retain: bool = False

    def packet(self, number: int) -> bytes:
        """The MQTT 5 PUBLISH."""
        topic = self.topic.encode()
        body = struct.pack(">H", len(topic)) + topic + struct.pack(">H", number % 65_535 + 1) + b"\0" + self.payload
        return bytes([_PUBLISH_QOS_1 | (_RETAIN if self.retain else 0)]) + _length(len(body)) + body


def _length(value: int) -> bytes:
    """MQTT's variable byte integer."""
    encoded = bytearray()
    while True:
        value, low = divmod(value, 128)
        encoded.append(low | (128 if value else 0))
        if not value:
            return bytes(encoded)


def _text(value: bytes) -> bytes:
    return struct.pack(">H", len(value)) + value


def _connect(user: str, password: bytes) -> bytes:
    flags = 0b1100_0010  # user name, password, clean start
    body = _text(b"MQTT") + bytes([5, flags]) + struct.pack(">H", 0) + b"\0" + _text(b"") + _text(user.encode())
    body += _text(password)
    return b"\x10" + _length(len(body)) + body


def _packets(kind: Kind, hub: str, user: str) -> list[bytes]:
    """Packets to send over and over: made before the flood, since the flooder must not take the cores that the hub is measured on."""
    make, rng = _messages(kind, Topics(), hub, user), random.Random()
    return [make(rng).packet(number) for number in range(min(_MOST_PACKETS, 4 * int(RATES[kind])))]


def _messages(kind: Kind, topics: Topics, hub: str, user: str) -> Callable[[random.Random], _Publish]:
    opening, own = topics.open(hub, user), topics.draft(hub, user)

    def in_own(rng: random.Random, frame: bytes) -> _Publish:
        return _Publish(own, rng.randrange(_OWN_SESSIONS).to_bytes(SESSION_BYTES, "big") + frame)

    large = encode(Draft(1, 0, 0, append=(2**31 - 1,) * MAX_APPEND))
    costly = (_CRAFTED + b"\x90" * MAX_FRAME)[:MAX_FRAME]
    makers: dict[Kind, Callable[[random.Random], _Publish]] = {
        Kind.OPENS: lambda rng: _Publish(opening, encode(Open(rng.randbytes(16), "home", bytes(16)))),
        Kind.DRAFTS: lambda rng: in_own(rng, encode(Draft(rng.randint(1, 99), 0, 0, (1, 2, 3), 4))),
        Kind.JUNK: lambda rng: in_own(rng, rng.randbytes(60)),
        Kind.LARGE: lambda rng: in_own(rng, large),
        Kind.COSTLY: lambda rng: in_own(rng, costly),
        Kind.FETCHES: lambda rng: _Publish(topics.fetch(hub, user), encode(Fetch(rng.randbytes(32), 0, MAX_PIECE))),
        Kind.RETAINED: lambda rng: _Publish(own, rng.randbytes(4096), retain=True),
    }
    return makers[kind]


@contextmanager
def flooding(settings: BrokerSettings, user: str, hub: str, kind: Kind) -> Iterator[subprocess.Popen[bytes]]:
    """A flood of that kind at its rate while the context lasts. Raises SledError when the broker does not let it in."""
    command = [
        sys.executable, "-m", "tools.rig.flooder", "--to", f"{settings.host}:{settings.port}", "--user", user,
        "--password-file", str(settings.password_file), "--hub", hub, "--kind", kind.value, "--rate", str(RATES[kind]),
    ]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.PIPE, preexec_fn=dying_with_parent()) as process:  # noqa: PLW1509
        assert process.stdout is not None
        try:
            if not process.stdout.readline():
                raise SledError("the flooder ended before its flood; what it wrote says why")
            yield process
        finally:
            process.terminate()


def main(
    to: Annotated[str, typer.Option(help="host:port of the broker")],
    user: Annotated[str, typer.Option(help="the device's name and user name")],
    password_file: Annotated[Path, typer.Option(help="its password")],
    hub: Annotated[str, typer.Option(help="the hub that suffers")],
    kind: Annotated[Kind, typer.Option(help="what is sent")] = Kind.OPENS,
    rate: Annotated[float, typer.Option(min=0.1, help="messages a second")] = 2_500.0,
) -> None:
    """Flood a hub."""
    packets = _packets(kind, hub, user)
    host, _, port = to.rpartition(":")
    with socket.create_connection((host, int(port))) as sock:
        sock.sendall(_connect(user, password_file.read_bytes().strip()))
        if sock.recv(4096)[:1] != b"\x20":
            raise SystemExit("the broker does not let the flooder in")
        sock.setblocking(False)
        typer.echo("flooding")
        began, number = time.monotonic(), 0
        while True:
            due = int((time.monotonic() - began) * rate) + 1
            if number < due:
                # What is due goes in one piece: a write costs more than a packet.
                _send(sock, b"".join(packets[each % len(packets)] for each in range(number, due)))
                number = due
            time.sleep(max(_PIECE_S, began + number / rate - time.monotonic()))


def _send(sock: socket.socket, packet: bytes) -> None:
    """Write the packet, throwing away what comes meanwhile."""
    rest = memoryview(packet)
    while rest:
        readable, writable, _ = select.select([sock], [sock], [])
        if readable and not sock.recv(65_536):
            raise SystemExit("the broker has ended the flooder's connection")
        if writable:
            rest = rest[sock.send(rest) :]


if __name__ == "__main__":
    run("tools.rig.flooder", main)
