"""The register: who is enrolled at a broker, in which role, and which certificates are in force or revoked."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime

from hub.enrolment.access import Role
from shared.errors import SettingsError
from shared.topics import STREAM, Topics, check_name

_SCHEMA = 1
_KINDS = {"host": str, "port": int, "certificate_port": int, "prefix": str}


@dataclass
class Register:
    """What a broker's folder knows. `certificates` are serial numbers in force by user, `revoked` when each other one ended."""

    host: str
    port: int
    certificate_port: int
    prefix: str
    roles: dict[str, Role] = field(default_factory=dict)
    certificates: dict[str, int] = field(default_factory=dict)
    revoked: dict[int, datetime] = field(default_factory=dict)

    @property
    def topics(self) -> Topics:
        """The topics below the broker's prefix."""
        return Topics(self.prefix)

    def require_free(self, name: str, what: str) -> None:
        """Raise SettingsError for a name that can't be one or is taken: no two users share a name. `what` it would be of."""
        check_name(name, f"{what}'s name")
        if name == STREAM:
            raise SettingsError(
                f"nobody can be called {STREAM!r}: the pieces of nodes' answers have that level; take another name"
            )
        if name in self.roles:
            raise SettingsError(
                f"{name!r} is enrolled already, as a {self.roles[name].value}; "
                f"`sled-hub rotate {name}` makes a new credential, and other users need other names"
            )

    def add(self, name: str, role: Role) -> None:
        """Enrol a user. Raises SettingsError as `require_free` does."""
        self.require_free(name, role.value)
        self.roles[name] = role

    def require(self, name: str) -> Role:
        """The role of a user. Raises SettingsError when nobody is enrolled by that name."""
        if name not in self.roles:
            raise SettingsError(f"nobody is enrolled as {name!r}; there are: {', '.join(sorted(self.roles)) or 'none'}")
        return self.roles[name]

    def end_certificate(self, name: str, now: datetime) -> None:
        """Revoke the certificate that is in force for `name`, if there is one."""
        serial = self.certificates.pop(name, None)
        if serial is not None:
            self.revoked[serial] = now

    def text(self) -> str:
        """The register as JSON. It holds no secrets."""
        return (
            json.dumps(
                {
                    "schema": _SCHEMA,
                    "host": self.host,
                    "port": self.port,
                    "certificate_port": self.certificate_port,
                    "prefix": self.prefix,
                    "users": {name: role.value for name, role in self.roles.items()},
                    "certificates": {name: f"{serial:x}" for name, serial in self.certificates.items()},
                    "revoked": {f"{serial:x}": at.isoformat() for serial, at in self.revoked.items()},
                },
                indent=1,
            )
            + "\n"
        )


def parse_register(text: str) -> Register:
    """The register in `text`. Raises SettingsError."""
    try:
        read = json.loads(text)
        if read["schema"] != _SCHEMA:
            raise SettingsError(
                f"the register has schema {read['schema']!r}; this version reads {_SCHEMA}: update SLED"
            )
        for key, kind in _KINDS.items():
            if type(read[key]) is not kind:
                raise TypeError(f"{key} is no {kind.__name__}")
        return Register(
            read["host"],
            read["port"],
            read["certificate_port"],
            read["prefix"],
            {name: Role(role) for name, role in read["users"].items()},
            {name: int(serial, 16) for name, serial in read["certificates"].items()},
            {int(serial, 16): datetime.fromisoformat(at) for serial, at in read["revoked"].items()},
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise SettingsError(f"the register of users is damaged ({type(error).__name__}: {error}); restore it") from None
