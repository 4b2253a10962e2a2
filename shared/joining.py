"""Taking a bundle: its credential into files of its own, and its settings beside the settings file."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from shared.bundle import Bundle, read_bundle
from shared.errors import SettingsError
from shared.private_file import PRIVATE, PUBLIC, write_file
from shared.settings import BrokerSettings, default_file, joined_file

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def join(
    path: Path,
    program: str,
    config: Path | None,
    check: Callable[[BrokerSettings, str], None],
    say: Callable[[str], None],
) -> None:
    """Take the bundle in `path` for `program` ("node" or "hub"), whose settings file is `config` or the usual one.

    What the bundle holds is put beside the settings file, which itself stays as it is and need not be there, once `check`
    has found that it works for that name; whatever that raises leaves everything as it was. `say` is told what was written.
    Raises SettingsError for a bundle of another role, for files that can't be written, and where the settings file overrules
    what the bundle says.
    """
    bundle, settings_file = read_bundle(path), (config or default_file(program)).absolute()
    if bundle.role != program:
        raise SettingsError(
            f"{path} is of {bundle.role} {bundle.name!r}; a {program}'s is made with: sled-hub enroll NAME --role {program}"
        )
    _require_silence(bundle, settings_file)
    try:
        settings_file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=settings_file.parent, prefix=".joining-") as trial:
            files = _write_credential(bundle, Path(trial) / settings_file.name)
            check(_broker_settings(bundle, files), bundle.name)
        files = _write_credential(bundle, settings_file)
        joined = joined_file(settings_file)
        write_file(joined, _toml(bundle.name, _table(bundle, files)), PUBLIC)
    except OSError as error:
        raise SettingsError(f"cannot write {error.filename or settings_file.parent}: {error.strerror}") from None
    say(f"the broker at {bundle.host}:{bundle.port} knows {program} {bundle.name!r}; written:")
    for each in (joined, *files.values()):
        say(f"  {each}")


def _write_credential(bundle: Bundle, settings_file: Path) -> dict[str, Path]:
    """The files of a bundle, by their settings' names."""
    contents = {
        "tls_ca": (".ca.crt", bundle.ca, PUBLIC),
        "password_file": (".password", bundle.password, PRIVATE),
        "tls_cert": (".crt", bundle.certificate, PUBLIC),
        "tls_key": (".key", bundle.key, PRIVATE),
    }
    written = {}
    for key, (suffix, content, mode) in contents.items():
        path = settings_file.with_suffix(suffix)
        if content:
            write_file(path, content, mode)
            written[key] = path
        else:
            path.unlink(missing_ok=True)  # of a credential of the other kind, before
    return written


def _table(bundle: Bundle, files: Mapping[str, Path]) -> dict[str, Any]:
    place = {"host": bundle.host, "port": bundle.port, "prefix": bundle.prefix}
    return place | {key: str(path) for key, path in files.items()}


def _broker_settings(bundle: Bundle, files: dict[str, Path]) -> BrokerSettings:
    return BrokerSettings(
        bundle.host,
        bundle.port,
        bundle.prefix,
        password_file=files.get("password_file"),
        tls_ca=files["tls_ca"],
        tls_cert=files.get("tls_cert"),
        tls_key=files.get("tls_key"),
    )


def _toml(name: str, broker: Mapping[str, Any]) -> str:
    lines = [f"{key} = {json.dumps(value)}\n" for key, value in broker.items()]
    return f"# Written by `join`; the settings file beside it overrules it.\nname = {json.dumps(name)}\n[broker]\n{''.join(lines)}"


def _require_silence(bundle: Bundle, settings_file: Path) -> None:
    """Raise SettingsError where the settings file says something else about what a bundle decides."""
    try:
        tables = tomllib.loads(settings_file.read_text(encoding="utf-8")) if settings_file.exists() else {}
    except (OSError, ValueError, RecursionError) as error:
        raise SettingsError(f"cannot read the settings file {settings_file}: {error}") from None
    broker = tables.get("broker", {})
    decided = {"host", "port", "prefix", "username", "password_file", "tls_ca", "tls_cert", "tls_key"}
    own = [f"broker.{key}" for key in broker if key in decided] if isinstance(broker, dict) else []
    own += ["name"] if tables.get("name", bundle.name) != bundle.name else []
    if own:
        raise SettingsError(f"{settings_file} overrules the bundle: take {', '.join(own)} out of it, then join again")
