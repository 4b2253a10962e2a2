"""The names and addresses of a broker, as they go into its certificate."""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Sequence

from shared.errors import SettingsError

_NAME = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)(\.(?!-)[A-Za-z0-9-]{1,63}(?<!-))*\.?")
_HERE = ("localhost", "127.0.0.1")  # for programs on the broker's machine


def broker_hosts(given: Sequence[str]) -> list[str]:
    """The hosts that are given, or else this machine's name, and those by which it is reached from itself. Raises SettingsError."""
    for host in given:
        if not _is_address(host) and not (_NAME.fullmatch(host) and len(host) <= 253):
            raise SettingsError(f"{host[:80]!r} is neither a host's name nor an address")
    return list(dict.fromkeys([*(given or [socket.gethostname()]), *_HERE]))


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
