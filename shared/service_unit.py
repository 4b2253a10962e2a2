"""A program as a systemd service: its unit, its commented settings file, and their installation."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from shared.errors import SettingsError
from shared.options import Setting, settings_of

UNITS, SETTINGS = Path("/etc/systemd/system"), Path("/etc/sled")
_HIDDEN = ("/home", "/root", "/run/user", "/tmp", "/var/tmp")  # noqa: S108 - what ProtectHome and PrivateTmp hide from a service
_BACK_OFF = 254  # the version of systemd from which on restarts can come more and more seldom
_RUNNING = Path("/run/systemd/system")  # is there where systemd is the init system
_TEGRA = Path("/etc/nv_tegra_release")  # is there on a Jetson
_SECRETS = {
    "password": "--broker-password-file",
    "key": "--broker-tls-key",
}  # files beside the settings that are root's alone, and the options that name them
JETSON = """# The GPU of a Jetson: the hub's, or ONNX Runtime's where it is built for it.
[Service]
PrivateDevices=no
DevicePolicy=closed
DeviceAllow=char-nvhost rw
DeviceAllow=char-nvmap rw
DeviceAllow=char-nvidia rw
SupplementaryGroups=video
"""


@dataclass(frozen=True)
class Kind:
    """What the two programs' units have not in common."""

    program: str  # node or hub
    command: str  # of sled-node or sled-hub
    what: str
    settings: type
    watchdog_s: int
    start_s: int  # seconds that loading and connecting may take
    own_secrets: Mapping[str, str] = field(default_factory=dict)  # beside _SECRETS

    @property
    def secrets(self) -> dict[str, str]:
        """The files beside the settings that are root's alone, by their endings, and the options that name them."""
        return {**_SECRETS, **self.own_secrets}

    @property
    def unit(self) -> str:
        """The unit's name."""
        return f"sled-{self.program}.service"


def unit_text(kind: Kind, executable: str, settings_file: Path, secrets: tuple[str, ...], version: int) -> str:
    """The unit. `secrets` are the files beside the settings that reach the service as credentials, `version` is systemd's."""
    name = f"sled-{kind.program}"
    credentials = [f"LoadCredential={each}:{settings_file.with_suffix(f'.{each}')}" for each in secrets]
    options = " ".join(f"{kind.secrets[each]} %d/{each}" for each in secrets)
    back_off = ["RestartSteps=6", "RestartMaxDelaySec=120"] if version >= _BACK_OFF else []
    lines = [
        f"# Written by `{name} install-service`; changes belong into a drop-in (systemctl edit {name}).",
        "[Unit]",
        f"Description=SLED {kind.program}: {kind.what}",
        "Wants=network-online.target",
        "After=network-online.target mosquitto.service",
        "StartLimitIntervalSec=0",
        "",
        "[Service]",
        "Type=notify",
        f"ExecStart={executable} {kind.command} --config {settings_file} {options}".rstrip(),
        *credentials,
        f"WatchdogSec={kind.watchdog_s}",
        f"TimeoutStartSec={kind.start_s}",
        "Restart=on-failure",
        "RestartSec=5",
        *back_off,
        "",
        "# A user of its own that exists while the service runs, and folders that are its own.",
        "DynamicUser=yes",
        f"StateDirectory={name}",
        "StateDirectoryMode=0700",
        f"CacheDirectory={name}",
        "CacheDirectoryMode=0700",
        f"Environment=HOME=%S/{name} XDG_CACHE_HOME=%C/{name} TRITON_CACHE_DIR=%C/{name}/kernels PYTHONUNBUFFERED=1",
        f"WorkingDirectory=%S/{name}",
        "StandardOutput=journal",
        "StandardError=journal",
        "",
        "# It needs the network and its own files.",
        "CapabilityBoundingSet=",
        "DevicePolicy=closed",
        "LockPersonality=yes",
        "NoNewPrivileges=yes",
        "PrivateDevices=yes",
        "PrivateTmp=yes",
        "PrivateUsers=yes",
        "ProtectClock=yes",
        "ProtectControlGroups=yes",
        "ProtectHome=yes",
        "ProtectHostname=yes",
        "ProtectKernelLogs=yes",
        "ProtectKernelModules=yes",
        "ProtectKernelTunables=yes",
        "ProtectProc=invisible",
        "ProtectSystem=strict",
        "RemoveIPC=yes",
        "RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX",
        "RestrictNamespaces=yes",
        "RestrictRealtime=yes",
        "RestrictSUIDSGID=yes",
        "SystemCallArchitectures=native",
        "SystemCallFilter=@system-service",
        "SystemCallFilter=~@privileged @resources",
        "SystemCallFilter=sched_setaffinity sched_setscheduler setpriority mbind set_mempolicy",
        "UMask=0077",
        "",
        "[Install]",
        "WantedBy=multi-user.target",
    ]
    return "\n".join(lines) + "\n"


def settings_text(kind: Kind) -> str:
    """A settings file in which every setting stands as a comment, with what it means and its default."""
    lines = [
        f"# Settings of sled-{kind.program}. What is not set has the value that is shown. `join` keeps the broker's in a file beside."
    ]
    table: tuple[str, ...] = ()
    for setting in settings_of(kind.settings):
        if setting.path[:-1] != table:
            table = setting.path[:-1]
            lines += ["", f"[{'.'.join(table)}]"]
        lines += ["", f"# {setting.meaning}", f"# {setting.path[-1]} = {_shown(setting)}"]
    return "\n".join(lines) + "\n"


def install(kind: Kind, config: Path | None, *, dry_run: bool, say: Callable[[str], None]) -> None:
    """Write unit and settings file, and start the service; with `dry_run` only say what would be written and run.

    `config` is the settings file, if it is not the usual one; one that is there stays as it is. Raises SettingsError.
    """
    settings_file = (config or SETTINGS / f"{kind.program}.toml").absolute()
    if not (dry_run or _RUNNING.exists()):
        raise SettingsError("systemd does not run this machine, so it can start no services; --dry-run shows the unit")
    executable = _executable(kind, strict=not dry_run)
    secrets = tuple(each for each in kind.secrets if settings_file.with_suffix(f".{each}").exists())
    files = {
        UNITS / kind.unit: unit_text(
            kind, executable, settings_file, secrets, 0 if dry_run and not _RUNNING.exists() else _version()
        )
    }
    if not settings_file.exists():
        files[settings_file] = settings_text(kind)
    if _TEGRA.exists():
        files[UNITS / f"{kind.unit}.d" / "jetson.conf"] = JETSON
    commands = [["systemctl", "daemon-reload"], ["systemctl", "enable", kind.unit], ["systemctl", "restart", kind.unit]]
    if dry_run:
        for path, text in files.items():
            say(f"# {path}\n{text}")
        for command in commands:
            say(f"# then: {' '.join(command)}")
        return
    for path, text in files.items():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise SettingsError(f"cannot write {path}: {error.strerror}; run it as root, with sudo") from None
        say(f"wrote {path}")
    for command in commands:
        _run(command)
    say(f"{kind.unit} runs; its log: journalctl -u {kind.unit}")


def uninstall(kind: Kind, *, say: Callable[[str], None]) -> None:
    """Stop the service and remove its unit; settings, credential and what it has kept stay. Raises SettingsError."""
    unit = UNITS / kind.unit
    if not unit.exists():
        raise SettingsError(f"there is no {unit}: nothing to uninstall")
    _run(["systemctl", "disable", "--now", kind.unit])
    drop_in = UNITS / f"{kind.unit}.d" / "jetson.conf"
    try:
        drop_in.unlink(missing_ok=True)
        unit.unlink()
    except OSError as error:
        raise SettingsError(f"cannot remove {error.filename}: {error.strerror}; run it as root, with sudo") from None
    _run(["systemctl", "daemon-reload"])
    say(
        f"removed {unit}; what stays: {SETTINGS}, /var/lib/private/sled-{kind.program}, /var/cache/private/sled-{kind.program}"
    )


def _shown(setting: Setting) -> str:
    """The default in TOML."""
    value = getattr(setting.default, "value", setting.default)
    if setting.of_host:
        return json.dumps(setting.shown_default)
    return '""' if value is None else json.dumps(str(value) if isinstance(value, Path) else value)


def _executable(kind: Kind, *, strict: bool) -> str:
    """The program that is running, where a service may read it. Raises SettingsError, when `strict`."""
    program = Path(sys.argv[0]).resolve()
    installed = (
        program if program.name == f"sled-{kind.program}" else Path(sys.executable).with_name(f"sled-{kind.program}")
    )
    if strict and (not installed.exists() or any(installed.is_relative_to(hidden) for hidden in _HIDDEN)):
        raise SettingsError(
            f"{installed} is where a service does not see it; install SLED below /opt: "
            f"python3 -m venv /opt/sled && /opt/sled/bin/pip install 'sled-mqtt[{kind.program}]', and run /opt/sled/bin/sled-{kind.program} install-service"
        )
    return str(installed if strict or installed.exists() else Path("/opt/sled/bin") / f"sled-{kind.program}")


def _version() -> int:
    """The version of systemd. Raises SettingsError where there is none."""
    words = _run(["systemctl", "--version"]).split()
    return int(words[1]) if len(words) > 1 and words[1].isdecimal() else 0


def _run(command: list[str]) -> str:
    """What a command prints. Raises SettingsError with what it says of an error."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "LC_ALL": "C"})  # noqa: S603
    except OSError as error:
        raise SettingsError(f"cannot run {command[0]}: {error.strerror}; this machine has no systemd") from None
    if done.returncode:
        raise SettingsError(f"{' '.join(command)}: {done.stderr.strip() or done.returncode}")
    return done.stdout
