"""Settings from a TOML file, the environment and the command line, the later ones winning; unknown keys are errors."""

from __future__ import annotations

import difflib
import os
import re
import socket
import stat
import sys
import types
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from shared.errors import SettingsError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

T = TypeVar("T")


@dataclass(frozen=True)
class BrokerSettings:
    """How to reach the MQTT broker."""

    host: str = "localhost"
    """Address of the MQTT broker."""
    port: int = 1883
    """Port of the MQTT broker, from 1 to 65535."""
    prefix: str = "sled"
    """First levels of every topic."""
    username: str = ""
    """User name at the broker. Without one, the program's own name is used when there is a password."""
    password_file: Path | None = None
    """File with mode 0600 that holds the password. The password itself is never an option or a variable."""
    tls_ca: Path | None = None
    """File with the broker's CA certificate. TLS is used when it is given."""
    tls_cert: Path | None = None
    """File with the client certificate, for a broker that asks for one instead of a password."""
    tls_key: Path | None = None
    """File with mode 0600 that holds the client certificate's key."""
    keepalive_s: int = 30
    """Seconds between signs of life to the broker, from 1 to 65535."""

    def __post_init__(self) -> None:
        require("broker_port", self.port, 1, 65_535)
        require("broker_keepalive_s", self.keepalive_s, 1, 65_535)

    def password(self) -> str | None:
        """The password, if there is one. Raises SettingsError for a file that others could read."""
        if self.password_file is None:
            return None
        try:
            mode = self.password_file.stat().st_mode
            text = self.password_file.read_text().strip()
        except OSError as error:
            raise SettingsError(f"cannot read the password file {self.password_file}: {error.strerror}") from None
        if stat.S_IMODE(mode) & 0o077:
            raise SettingsError(f"others can read {self.password_file}; run: chmod 600 {self.password_file}")
        return text


def require(key: str, value: float, low: float, high: float) -> None:
    """Raise SettingsError unless low ≤ value ≤ high."""
    if not low <= value <= high:
        raise SettingsError(f"the setting {key!r} must be from {low:g} to {high:g}, not {value:g}")


def size_in_bytes(text: str) -> int:
    """The number of bytes that `text` says: a whole number, with K, M or G for units of 1024. Raises SettingsError."""
    match = re.fullmatch(r"(\d{1,15})\s*([KMG]?)(i?B)?", text.strip(), re.IGNORECASE)
    if match is None:
        raise SettingsError(f"a size is a number of bytes, or one with K, M or G such as 512M, not {text!r}")
    factor: int = 1024 ** " KMG".index(match[2].upper() or " ")
    return int(match[1]) * factor


def default_name(suffix: str = "") -> str:
    """A name made from the host's, fit for a topic level."""
    host = re.sub(r"[^A-Za-z0-9_-]", "-", socket.gethostname().split(".")[0])[:48] or "sled"
    return host + suffix


def default_file(program: str) -> Path:
    """The settings file of a program where none is named."""
    return Path.home() / ".config" / "sled" / f"{program}.toml"


def joined_file(settings_file: Path) -> Path:
    """Where the settings from a bundle are kept, so that a file that people write is never written by a program."""
    return settings_file.with_suffix(".joined.toml")


def load(cls: type[T], program: str, options: Mapping[str, Any], file: Path | None = None) -> T:
    """Settings of class `cls` for `program` ("node" or "hub").

    `file` (default `~/.config/sled/PROGRAM.toml`, if it is there) overrules what `join` has put beside it, in a file
    that ends in `.joined.toml`, and is overruled by environment variables
    `SLED_PROGRAM_KEY`, and these by `options`, whose None values count as not given. A nested table `[broker]` is
    `SLED_PROGRAM_BROKER_KEY` in the environment and `broker_key` in options. Raises SettingsError.
    """
    keys = _flat_keys(cls)
    prefix = f"SLED_{program.upper()}_"
    values: dict[str, Any] = {}
    values.update(_from_file(None, joined_file(file or default_file(program)), keys))
    values.update(_from_file(file, default_file(program), keys))
    for variable, text in os.environ.items():
        if variable.startswith(prefix):
            key = variable[len(prefix) :].lower()
            values[_known(key, keys, f"the environment variable {variable}")] = text
    values.update({_known(k, keys, "the options"): v for k, v in options.items() if v is not None})
    settings = cls()
    for key, value in values.items():
        settings = _with(settings, keys[key], value, key)
    return settings


def _flat_keys(cls: type, path: tuple[str, ...] = ()) -> dict[str, tuple[str, ...]]:
    """Settable keys as flat names, each with its path of field names."""
    keys: dict[str, tuple[str, ...]] = {}
    hints = get_type_hints(cls)
    for f in fields(cls):
        here = (*path, f.name)
        keys.update(_flat_keys(hints[f.name], here) if is_dataclass(hints[f.name]) else {"_".join(here): here})
    return keys


def _from_file(file: Path | None, default: Path, keys: Mapping[str, tuple[str, ...]]) -> dict[str, Any]:
    path = file or default
    if file is None and not default.exists():
        return {}
    try:
        tables = tomllib.loads(path.read_text())
    except OSError as error:
        raise SettingsError(f"cannot read the settings file {path}: {error.strerror}") from None
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path} is not valid TOML: {error}") from None
    flat: dict[str, Any] = {}
    for key, value in tables.items():
        flat.update({f"{key}_{k}": v for k, v in value.items()} if isinstance(value, dict) else {key: value})
    return {_known(key, keys, str(path)): value for key, value in flat.items()}


def _known(key: str, keys: Mapping[str, object], where: str) -> str:
    if key in keys:
        return key
    close = difflib.get_close_matches(key, keys, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else f"; there are: {', '.join(sorted(keys))}"
    raise SettingsError(f"{where}: unknown setting {key!r}{hint}")


def _with(settings: T, path: tuple[str, ...], value: Any, key: str) -> T:
    name, rest = path[0], path[1:]
    if rest:
        new = _with(getattr(settings, name), rest, value, key)
    else:
        new = _converted(value, get_type_hints(type(settings))[name], key)
    return replace(settings, **{name: new})  # type: ignore[type-var]


def _converted(value: Any, hint: Any, key: str) -> Any:
    if get_origin(hint) in (Union, types.UnionType):
        hint = next(arg for arg in get_args(hint) if arg is not type(None))
    if hint is bool and isinstance(value, str):
        value = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}.get(
            value.lower(), value
        )
    if issubclass(hint, Enum):
        if isinstance(value, hint):
            return value
        choices = [member.value for member in hint]
        if value not in choices:
            raise SettingsError(f"the setting {key!r} must be one of {', '.join(choices)}, not {value!r}")
        return hint(value)
    if isinstance(value, hint) and (hint is bool or not isinstance(value, bool)):
        return value
    if hint in (int, float, Path) and isinstance(value, (str, int)) and not isinstance(value, bool):
        try:
            return Path(str(value)).expanduser() if hint is Path else hint(value)
        except ValueError:
            pass
    raise SettingsError(f"the setting {key!r} must be of type {getattr(hint, '__name__', hint)}, not {value!r}")
