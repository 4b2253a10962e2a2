"""mosquitto's configuration: how much a broker takes from anybody, and where it listens."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

PASSWORDS, ACL = "passwd", "acl"  # files in a broker's folder, as are:
CERTIFICATE, KEY, CA, REVOKED = "broker.crt", "broker.key", "ca.crt", "revoked.pem"

_LIMITS = """\
# Without TCP_NODELAY a round at QoS 1 waits 44 ms for a delayed ACK on the broker's side.
set_tcp_nodelay true

# The largest message is a draft that appends 131,072 ids: 656 KB. What is larger is refused by its PUBACK; what does not
# fit max_packet_size ends its sender's connection.
message_size_limit 688128
max_packet_size 720896

# A hub has hundreds of nodes: mosquitto's 20 messages in flight and 1000 queued would be too few for it. The limits in
# bytes are what one connection that does not read can hold.
max_inflight_messages 1000
max_inflight_bytes 4194304
max_queued_messages 10000
max_queued_bytes 4194304

# Do not set memory_limit. mosquitto 2.0.11 counts 56 bytes for every MQTT 5 message with a property, and never takes
# them back though it frees them: at 192 MiB it stopped after 3.6 million messages.

# SLED's programs keep no session on the broker. Those of others end when they have been away for long.
persistent_client_expiration 7d
"""


@dataclass(frozen=True)
class Listener:
    """A port. With `certificate` and `key` it is encrypted; with `client_ca` its users need certificates, not passwords."""

    port: int
    address: str = ""
    certificate: Path | None = None
    key: Path | None = None
    client_ca: Path | None = None
    revoked: Path | None = None
    connections: int = 1000

    def lines(self) -> list[str]:
        """Its lines in a configuration."""
        named = {"certfile": self.certificate, "keyfile": self.key, "cafile": self.client_ca, "crlfile": self.revoked}
        return [
            f"listener {self.port} {self.address}".rstrip(),
            f"max_connections {self.connections}",
            *(f"{option} {path}" for option, path in named.items() if path is not None),
            *(["require_certificate true", "use_identity_as_username true"] if self.client_ca else []),
        ]


def listeners(folder: Path, port: int, certificate_port: int) -> list[Listener]:
    """The encrypted ports of a broker: one for users with passwords, one for users with certificates."""
    certificate, key = folder / CERTIFICATE, folder / KEY
    by_certificate = Listener(
        certificate_port, certificate=certificate, key=key, client_ca=folder / CA, revoked=folder / REVOKED
    )
    return [Listener(port, certificate=certificate, key=key), by_certificate]


def configuration(folder: Path, ports: list[Listener]) -> str:
    """The text of a mosquitto.conf, or of a file that a mosquitto.conf includes; `folder` holds PASSWORDS and ACL."""
    access = ["allow_anonymous false", f"password_file {folder / PASSWORDS}", f"acl_file {folder / ACL}"]
    return "\n".join([_LIMITS, *access, *(line for listener in ports for line in ["", *listener.lines()])]) + "\n"
