"""The commands by which a broker gets its files and its users: `sled-hub init-broker`, `enroll`, `rotate` and `revoke`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from hub.enrolment.access import Role
from hub.enrolment.bundles import bundle_file, write_bundle
from hub.enrolment.hosts import broker_hosts
from hub.enrolment.reload import reload_broker
from shared.errors import SettingsError
from shared.install import needing
from shared.loading import loaded
from shared.streams import put_line
from shared.topics import Topics, check_name

_EXTRA = "broker"
_FOLDER = Path("/etc/mosquitto/sled")
_PID_FILE = Path("/run/mosquitto/mosquitto.pid")
_PREFIX, _PORT, _CERTIFICATE_PORT = "sled", 8883, 8884

Name = Annotated[str, typer.Argument(help="the device's name: its user name, and its level in topics")]
Folder = Annotated[Path, typer.Option(help="the broker's folder, made by init-broker")]
PidFile = Annotated[Path, typer.Option(help="file with mosquitto's process id, to have it read the changed files")]
Out = Annotated[Optional[Path], typer.Option(help="file of the bundle; NAME.bundle when not given")]
Port = Annotated[Optional[int], typer.Option(min=1, max=65_535, help="port of TLS  [default: 8883]")]
CertificatePort = Annotated[
    Optional[int], typer.Option(min=1, max=65_535, help="port for client certificates  [default: 8884]")
]


def init_broker(
    *,
    out: Annotated[Path, typer.Option(help="folder for the files that mosquitto reads")] = _FOLDER,
    host: Annotated[Optional[list[str]], typer.Option(help="name or address by which devices reach the broker")] = None,
    hub: Annotated[Optional[list[str]], typer.Option(help="name of a hub to enrol")] = None,
    node: Annotated[Optional[list[str]], typer.Option(help="name of a node to enrol")] = None,
    prefix: Annotated[
        Optional[str], typer.Option(help=f"first levels of every topic; {_PREFIX} when not given")
    ] = None,
    port: Port = None,
    certificate_port: CertificatePort = None,
    pid_file: PidFile = _PID_FILE,
) -> None:
    """Write what mosquitto needs for SLED: TLS, users, rules and limits. Run again, it adds hosts and users to what is there."""
    with needing(_EXTRA):
        from hub.enrolment.broker_folder import BrokerFolder
        from hub.enrolment.register import Register

        loaded()
        folder, hosts = BrokerFolder(out), broker_hosts(host or [])
        known = folder.register() if folder.exists else Register(hosts[0], 0, 0, "")
        wanted = [*((name, Role.HUB) for name in hub or []), *((name, Role.NODE) for name in node or [])]
        new = [(name, role) for name, role in wanted if known.roles.get(name) is not role]
        for name, role in new:
            known.add(name, role)  # a name that can't be taken is found before anything is written
        files = {name: bundle_file(name, None) for name, _ in new}
        first = not folder.exists
        if first:
            folder.create(hosts, Topics(prefix or _PREFIX).prefix, port or _PORT, certificate_port or _CERTIFICATE_PORT)
            put_line(f"wrote {folder.path}; its ca.key makes credentials: keep it there, and secret")
        else:
            _require_same(folder.register(), prefix=prefix, port=port, certificate_port=certificate_port)
            added = folder.renew(hosts if host else [])
            put_line(f"{folder.path}: all users are kept, their rules are written anew")
            if added:
                put_line(f"the broker's certificate now names {', '.join(added)} too")
        for name, role in new:
            write_bundle(folder.enroll(name, role, certificate=False), files[name])
            put_line(f"wrote {files[name]}: copy it to the machine of {role.value} {name!r}")
        if first:
            put_line(_next_steps(folder.configuration))
        else:
            put_line(reload_broker(pid_file))


def enroll(
    name: Name,
    *,
    role: Annotated[Role, typer.Option(help="what it is")] = Role.NODE,
    client_certificate: Annotated[bool, typer.Option("--client-certificate", help="instead of a password")] = False,
    out: Out = None,
    folder: Folder = _FOLDER,
    pid_file: PidFile = _PID_FILE,
) -> None:
    """Enrol a device, and write its bundle: one file with the broker's address, its CA and a credential."""
    with needing(_EXTRA):
        from hub.enrolment.broker_folder import BrokerFolder

        loaded()
        file = bundle_file(check_name(name, "name"), out)
        write_bundle(BrokerFolder(folder).enroll(name, role, certificate=client_certificate), file)
        put_line(f"wrote {file}: copy it to the machine of {role.value} {name!r}{_joining(role, file)}")
        put_line(reload_broker(pid_file))


def rotate(name: Name, *, out: Out = None, folder: Folder = _FOLDER, pid_file: PidFile = _PID_FILE) -> None:
    """Make a new credential and bundle for a device, and end the old one."""
    with needing(_EXTRA):
        from hub.enrolment.broker_folder import BrokerFolder

        loaded()
        file = bundle_file(check_name(name, "name"), out)
        bundle = BrokerFolder(folder).rotate(name)
        write_bundle(bundle, file)
        put_line(f"wrote {file}: copy it to the machine of {name!r}{_joining(Role(bundle.role), file)}")
        put_line(reload_broker(pid_file))
        if bundle.certificate:
            put_line("a connection made with the old certificate stays until mosquitto restarts")


def revoke(name: Name, *, folder: Folder = _FOLDER, pid_file: PidFile = _PID_FILE) -> None:
    """End a device's access to the broker."""
    with needing(_EXTRA):
        from hub.enrolment.broker_folder import BrokerFolder

        loaded()
        BrokerFolder(folder).revoke(name)
        put_line(f"{name!r} has no password, certificate or rules any more")
        put_line(reload_broker(pid_file))


def _joining(role: Role, file: Path) -> str:
    program = {Role.HUB: "sled-hub", Role.NODE: "sled-node", Role.OBSERVER: "sled-hub"}.get(role)
    return f", and there: {program} join {file.name}" if program else ""


def _next_steps(configuration: Path) -> str:
    return (
        "now, as root:\n"
        f"  ln -s {configuration} /etc/mosquitto/conf.d/\n"
        "  systemctl restart mosquitto\n"
        "and on each machine with its bundle: sled-hub join NAME.bundle, or sled-node join NAME.bundle"
    )


def _require_same(register: object, **given: object) -> None:
    """Raise SettingsError for an option that says something else than the register."""
    for option, value in given.items():
        known = getattr(register, option)
        if value not in (None, known):
            raise SettingsError(
                f"this broker's {option.replace('_', ' ')} is {known}, and devices have it in their bundles; "
                f"leave it so, or make another broker with --out"
            )
