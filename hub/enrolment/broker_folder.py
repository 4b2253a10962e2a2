"""A broker's folder: the register of users, and the files that mosquitto reads, which are made of it."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path

from hub.enrolment.access import Role, acl
from hub.enrolment.authority import Authority, hosts_of, new_authority
from hub.enrolment.configuration import ACL, CA, CERTIFICATE, KEY, PASSWORDS, REVOKED, configuration, listeners
from hub.enrolment.passwords import new_password, password_line, with_line
from hub.enrolment.register import Register, parse_register
from shared.bundle import Bundle
from shared.errors import SettingsError
from shared.private_file import PRIVATE, PUBLIC, write_file
from shared.text_file import read_text

_CONFIGURATION, _REGISTER, _CA_KEY = "sled.conf", "users.json", "ca.key"
_OWN_RULES = "# Rules for users of other programs, from a line `user NAME` on. What stands below this line is kept.\n"
_BROKER_USER = "mosquitto"
_MOST_BYTES = 2**26  # of a file: tens of thousands of users


class BrokerFolder:
    """One folder; each method leaves it complete. Every method raises SettingsError, for files that can't be written too."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self._owner = _broker_owner()

    @property
    def exists(self) -> bool:
        """Whether there is a register."""
        with _troubles_told(self.path):
            return (self.path / _REGISTER).exists()

    @property
    def configuration(self) -> Path:
        """The file for mosquitto's include_dir."""
        return self.path / _CONFIGURATION

    def create(self, hosts: list[str], prefix: str, port: int, certificate_port: int) -> None:
        """Make a new folder for a broker that is reached by these names and addresses."""
        if port == certificate_port:
            raise SettingsError(
                f"port {port} can't be both for passwords and for certificates; give another one with --port or --certificate-port"
            )
        with _troubles_told(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            if any(self.path.iterdir()):
                raise SettingsError(f"{self.path} holds other files; name a new or an empty folder with --out")
            try:
                self._fill(Register(hosts[0], port, certificate_port, prefix), hosts)
            except BaseException:  # Ctrl-C too
                for file in self.path.iterdir():  # all of it is from just now
                    file.unlink()
                raise

    def renew(self, hosts: list[str]) -> list[str]:
        """Write the rules anew, and what is missing; have the broker's certificate name these too, and return the new ones."""
        register = self.register()
        with _troubles_told(self.path):
            known = hosts_of(self._read(CERTIFICATE))
            new = [host for host in hosts if host not in known]
            if new:
                self._certify(self._authority(), known + new)
            self._save(register)
            if not self.configuration.exists():
                self._write_configuration(register)
            return new

    def enroll(self, name: str, role: Role, *, certificate: bool) -> Bundle:
        """Enrol a new user with a password, or with a certificate."""
        register = self.register()
        register.add(name, role)
        return self._give_credential(register, name, certificate=certificate)

    def rotate(self, name: str) -> Bundle:
        """Give a user a new credential of the same kind. The old one is worth nothing once the broker has read the files."""
        register = self.register()
        register.require(name)
        certificate = name in register.certificates
        register.end_certificate(name, _now())
        return self._give_credential(register, name, certificate=certificate)

    def revoke(self, name: str) -> None:
        """End a user's access, and forget the user."""
        register = self.register()
        register.require(name)
        register.end_certificate(name, _now())
        del register.roles[name]
        with _troubles_told(self.path):
            self._write(PASSWORDS, with_line(self._read(PASSWORDS), name, None))
            self._save(register)

    def register(self) -> Register:
        """Who is enrolled."""
        if not self.exists:
            raise SettingsError(
                f"{self.path} is no broker's folder; make one with `sled-hub init-broker`, or name one with --folder"
            )
        with _troubles_told(self.path):
            return parse_register(self._read(_REGISTER))

    def _fill(self, register: Register, hosts: list[str]) -> None:
        if self._owner is not None:
            os.chown(self.path, 0, self._owner[1])
        self.path.chmod(0o750)
        authority = new_authority()
        self._write(_CA_KEY, authority.key, for_broker=False)
        self._write(CA, authority.certificate, PUBLIC)
        self._certify(authority, hosts)
        self._write(PASSWORDS, "")
        self._write_configuration(register)
        self._save(register)

    def _give_credential(self, register: Register, name: str, *, certificate: bool) -> Bundle:
        with _troubles_told(self.path):
            port, ca = register.certificate_port if certificate else register.port, self._read(CA)
            role = register.roles[name].value
            if certificate:
                issued = self._authority().issue_user(name)
                register.certificates[name] = issued.serial
                self._save(register)
                return Bundle(
                    name, role, register.host, port, register.prefix, ca, certificate=issued.certificate, key=issued.key
                )
            password = new_password()
            self._write(PASSWORDS, with_line(self._read(PASSWORDS), name, password_line(name, password)))
            self._save(register)
            return Bundle(name, role, register.host, port, register.prefix, ca, password=password)

    def _save(self, register: Register) -> None:
        """Write the register and what follows from it."""
        self._write(REVOKED, self._authority().revocations(register.revoked))
        previous = self._read(ACL) if (self.path / ACL).exists() else ""
        own = previous.partition(_OWN_RULES)[2]
        self._write(ACL, f"{acl(register.roles, register.topics)}\n{_OWN_RULES}{own}")
        self._write(_REGISTER, register.text(), for_broker=False)

    def _certify(self, authority: Authority, hosts: list[str]) -> None:
        issued = authority.issue_broker(hosts)
        self._write(KEY, issued.key)
        self._write(CERTIFICATE, issued.certificate, PUBLIC)

    def _write_configuration(self, register: Register) -> None:
        ports = listeners(self.path, register.port, register.certificate_port)
        self._write(_CONFIGURATION, configuration(self.path, ports), PUBLIC)

    def _authority(self) -> Authority:
        return Authority(self._read(CA), self._read(_CA_KEY))

    def _read(self, name: str) -> str:
        return read_text(self.path / name, "the broker's file", SettingsError, most=_MOST_BYTES)

    def _write(self, name: str, text: str, mode: int = PRIVATE, *, for_broker: bool = True) -> None:
        write_file(self.path / name, text, mode, self._owner if for_broker else None)


def _broker_owner() -> tuple[int, int] | None:
    """The ids of mosquitto's own user, for root; None for others, and where there is no such user."""
    if os.geteuid() != 0:
        return None
    try:
        found = pwd.getpwnam(_BROKER_USER)
    except KeyError:
        return None
    return found.pw_uid, found.pw_gid


@contextmanager
def _troubles_told(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise SettingsError(
            f"cannot read or write {error.filename or path}: {error.strerror}; "
            "where the folder is root's, run the command with sudo"
        ) from None
    except ValueError as error:
        raise SettingsError(f"a file in {path} is damaged ({error}); restore it") from None


def _now() -> datetime:
    return datetime.now(timezone.utc)
