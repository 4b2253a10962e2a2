"""Taking a bundle: its credential into files of its own, and its settings beside the settings file."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from shared.bundle import Bundle, read_bundle
from shared.errors import SettingsError
from shared.private_file import PRIVATE, PUBLIC, write_file
from shared.settings import BrokerSettings, default_file, joined_file, require_text
from shared.text_file import read_toml

_DECIDED = ("host", "port", "prefix", "username", "password_file", "tls_ca", "tls_cert", "tls_key")  # by a bundle
_LONGEST_PATH = 4095  # bytes


def join(
    path: Path,
    program: str,
    config: Path | None,
    check: Callable[[BrokerSettings, str], None],
    say: Callable[[str], None],
    role: str = "",
) -> None:
    """Take the bundle in `path` for `program`, whose settings file is `config` or the usual one. The bundle's `role` is the program's name unless it is given.

    What the bundle holds is put beside the settings file, which itself stays as it is and need not be there, once `check`
    has found that it works for that name; whatever that raises leaves everything as it was. `say` is told what was written.
    Raises SettingsError for a bundle of another role, for files that can't be written, and where the settings file overrules
    what the bundle says.
    """
    bundle, settings_file = read_bundle(path), _settings_file(program, config)
    role = role or program
    if bundle.role != role:
        raise SettingsError(
            f"{path} is of {bundle.role} {bundle.name!r}; a {role}'s is made with: sled-hub enroll NAME --role {role}"
        )
    _require_silence(bundle, settings_file)
    broker, joined = _settings(bundle, settings_file), joined_file(settings_file)
    try:
        settings_file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=settings_file.parent, prefix=".joining-") as folder:
            trial = Path(folder) / settings_file.name
            check(write_credential(bundle, trial), bundle.name)
            write_file(joined_file(trial), _toml(bundle.name, broker), PUBLIC)
            # What is left to do takes no room on the disk: whoever has no more keeps what was there before.
            for suffix in _contents(bundle):
                if trial.with_suffix(suffix).exists():
                    trial.with_suffix(suffix).replace(settings_file.with_suffix(suffix))
                else:
                    settings_file.with_suffix(suffix).unlink(missing_ok=True)  # of the other kind, before
            joined_file(trial).replace(joined)
    except OSError as error:
        raise SettingsError(f"cannot write {error.filename or settings_file.parent}: {error.strerror}") from None
    say(f"the broker at {bundle.host}:{bundle.port} knows {role} {bundle.name!r}; written:")
    for written in (joined, broker.tls_ca, broker.password_file, broker.tls_cert, broker.tls_key):
        if written is not None:
            say(f"  {written}")


def write_credential(bundle: Bundle, settings_file: Path) -> BrokerSettings:
    """Write the files of a bundle beside `settings_file`; the settings by which a program uses them. Raises OSError."""
    for suffix, (content, mode) in _contents(bundle).items():
        if content:
            write_file(settings_file.with_suffix(suffix), content, mode)
    return _settings(bundle, settings_file)


def _contents(bundle: Bundle) -> dict[str, tuple[str, int]]:
    """What is in the files that a credential can have, by suffix, and their modes; one without content is not there."""
    return {
        ".password": (bundle.password, PRIVATE),
        ".ca.crt": (bundle.ca, PUBLIC),
        ".crt": (bundle.certificate, PUBLIC),
        ".key": (bundle.key, PRIVATE),
    }


def _settings(bundle: Bundle, settings_file: Path) -> BrokerSettings:
    """The settings that go with a bundle's files beside `settings_file`."""
    there = [
        settings_file.with_suffix(suffix) if content else None for suffix, (content, _) in _contents(bundle).items()
    ]
    password_file, tls_ca, tls_cert, tls_key = there
    return BrokerSettings(
        bundle.host,
        bundle.port,
        bundle.prefix,
        password_file=password_file,
        tls_ca=tls_ca,
        tls_cert=tls_cert,
        tls_key=tls_key,
    )


def _settings_file(program: str, config: Path | None) -> Path:
    """The settings file, as an absolute path that can stand in one. Raises SettingsError."""
    file = config or default_file(program)
    if file is None:
        raise SettingsError("this user has no home folder; name a settings file with --config")
    require_text("config", str(file), _LONGEST_PATH)
    return file.absolute()


def _toml(name: str, broker: BrokerSettings) -> str:
    """The settings that a bundle decides."""
    values = {key: getattr(broker, key) for key in _DECIDED}
    lines = [
        f"{key} = {_quoted(value) if isinstance(value, str | Path) else value}\n"
        for key, value in values.items()
        if value not in (None, "")
    ]
    head = "# Written by `join`; the settings file beside it overrules it.\n"
    return f"{head}name = {_quoted(name)}\n[broker]\n{''.join(lines)}"


def _quoted(value: str | Path) -> str:
    """Text as TOML has it: JSON's escapes of characters past U+FFFF are none of TOML's."""
    return json.dumps(str(value), ensure_ascii=False)


def _require_silence(bundle: Bundle, settings_file: Path) -> None:
    """Raise SettingsError where the settings file says something else about what a bundle decides."""
    there = os.path.lexists(settings_file)
    tables = read_toml(settings_file, "the settings file", SettingsError) if there else {}
    broker = tables.get("broker", {})
    own = [f"broker.{key}" for key in broker if key in _DECIDED] if isinstance(broker, dict) else []
    own += ["name"] if tables.get("name", bundle.name) != bundle.name else []
    if own:
        raise SettingsError(f"{settings_file} overrules the bundle: take {', '.join(own)} out of it, then join again")
