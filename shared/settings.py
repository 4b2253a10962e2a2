"""Settings from a TOML file, the environment and the command line, the later ones winning; unknown keys are errors."""

from __future__ import annotations

import difflib
import os
import re
import socket
import types
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from shared.errors import SettingsError
from shared.text_file import read_text, read_toml

T = TypeVar("T")
_KINDS = {str: "text", int: "a whole number", float: "a number", bool: "true or false", Path: "a path"}
_SHOWN = 80  # characters of a value in a sentence
_MOST_MQTT = 65_535  # bytes of a user name or a password
_MOST_HOST = 253  # bytes of a host's name
LOOPBACK = ("127.0.0.1", "localhost", "::1")  # addresses of this machine for itself


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
    discovery: bool = False
    """Whether this program shows itself to Home Assistant by MQTT discovery."""
    discovery_prefix: str = "homeassistant"
    """First level of Home Assistant's discovery topics."""

    def __post_init__(self) -> None:
        require("broker_port", self.port, 1, 65_535)
        require("broker_keepalive_s", self.keepalive_s, 1, 65_535)
        if not re.fullmatch("[A-Za-z0-9_-]{1,64}", self.discovery_prefix):
            raise SettingsError(
                f"the setting 'broker_discovery_prefix' must be letters, digits, '-' or '_', not {shown(self.discovery_prefix)}"
            )
        require_text("broker_username", self.username, _MOST_MQTT)
        require_text("broker_host", self.host, _MOST_HOST)
        try:
            self.host.encode("idna")
        except UnicodeError:
            raise SettingsError(
                f"the setting 'broker_host' must be a host's name or address, not {shown(self.host)}"
            ) from None
        if not self.host or any(map(str.isspace, self.host)):
            raise SettingsError(f"the setting 'broker_host' must be a host's name or address, not {shown(self.host)}")

    def password(self) -> str | None:
        """The password, if there is one. Raises SettingsError for a file that holds none or that others could read."""
        return None if self.password_file is None else secret(self.password_file, "password")

    def ca_certificate(self) -> str | None:
        """The CA certificate in PEM and ASCII, if there is one. Raises SettingsError for a file that holds none."""
        if self.tls_ca is None:
            return None
        text = read_text(self.tls_ca, "the CA certificate", SettingsError)
        if "-----BEGIN" not in text:
            raise SettingsError(
                f"the CA certificate {self.tls_ca} holds no certificate in PEM; name the broker's CA file"
            )
        return text.encode("ascii", "ignore").decode()  # comments may have names in them


def secret(file: Path, what: str) -> str:
    """The password or token in a file. Raises SettingsError for a file that holds none or that others could read."""
    text = read_text(file, f"the {what} file", SettingsError, most=_MOST_MQTT, private=True).strip()
    if not text or "\0" in text:
        raise SettingsError(f"the {what} file {file} holds no {what}; write it there in one line")
    return text


def require(key: str, value: float, low: float, high: float) -> None:
    """Raise SettingsError unless low ≤ value ≤ high."""
    if not low <= value <= high:
        raise SettingsError(f"the setting {key!r} must be from {low:g} to {high:g}, not {shown(value)}")


def require_text(key: str, value: str, longest: int) -> None:
    """Raise SettingsError unless `value` is text of at most `longest` bytes in UTF-8, without control characters."""
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        raise SettingsError(f"the setting {key!r} must be UTF-8 text, not {shown(value)}") from None
    if size > longest:
        raise SettingsError(f"the setting {key!r} must have at most {longest} bytes, not {size}")
    if any(unicodedata.category(c) == "Cc" for c in value):
        raise SettingsError(f"the setting {key!r} must be without control characters, not {shown(value)}")


def shown(value: object) -> str:
    """`value` as it is written in a sentence: short, whatever it is."""
    try:
        text = f"{value:g}" if isinstance(value, float) else repr(value)
    except ValueError:  # Python writes no integer of more than 4300 digits
        return "a number of thousands of digits"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def size_in_bytes(text: str) -> int:
    """The number of bytes that `text` says: a whole number, with K, M or G for units of 1024. Raises SettingsError."""
    match = re.fullmatch(r"(\d{1,15})\s*([KMG]?)(i?B)?", text.strip(), re.IGNORECASE)
    if match is None:
        raise SettingsError(f"a size is a number of bytes, or one with K, M or G such as 512M, not {shown(text)}")
    factor: int = 1024 ** " KMG".index(match[2].upper() or " ")
    return int(match[1]) * factor


def default_name(suffix: str = "") -> str:
    """A name made from the host's, fit for a topic level."""
    host = re.sub(r"[^A-Za-z0-9_-]", "-", socket.gethostname().split(".")[0])[:48] or "sled"
    return host + suffix


def default_file(program: str) -> Path | None:
    """The settings file of a program where none is named; None for a user without a home, as in a container."""
    try:
        return Path.home() / ".config" / "sled" / f"{program}.toml"
    except RuntimeError:
        return None


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
    path = file or default_file(program)
    if path is not None:
        # A folder is told of before a name is made of its own.
        own = _from_file(path, cls) if file is not None or os.path.lexists(path) else {}
        joined = joined_file(path)
        values.update(_from_file(joined, cls) if os.path.lexists(joined) else {})
        values.update(own)
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


def _from_file(path: Path, cls: type) -> dict[str, Any]:
    return _flat(read_toml(path, "the settings file", SettingsError), cls, str(path))


def _flat(table: Mapping[str, Any], cls: type, where: str, tables: tuple[str, ...] = ()) -> dict[str, Any]:
    """The values of a TOML table, and of those in it, by their flat keys."""
    hints = get_type_hints(cls)
    flat: dict[str, Any] = {}
    for name, value in table.items():
        path = (*tables, name)
        hint = hints[_known(name, hints, where, ".".join(tables))]
        if not is_dataclass(hint):
            flat["_".join(path)] = value
        elif isinstance(value, dict):
            flat.update(_flat(value, hint, where, path))  # type: ignore[arg-type]
        else:
            raise SettingsError(
                f"{where}: {name!r} is a table; write [{name}] and its settings below, not {shown(value)}"
            )
    return flat


def _known(key: str, keys: Mapping[str, object], where: str, table: str = "") -> str:
    if key in keys:
        return key
    close = difflib.get_close_matches(key, keys, n=1)
    place = f" in [{table}]" if table else ""
    hint = f"; did you mean {close[0]!r}?" if close else f"; there are: {', '.join(sorted(keys))}"
    raise SettingsError(f"{where}: unknown setting {shown(key)}{place}{hint}")


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
            raise SettingsError(f"the setting {key!r} must be one of {', '.join(choices)}, not {shown(value)}")
        return hint(value)
    if isinstance(value, hint) and (hint is bool or not isinstance(value, bool)):
        return value
    taken: tuple[type, ...] = {int: (str,), float: (str, int), Path: (str,)}.get(hint, ())
    if isinstance(value, taken) and not isinstance(value, bool):
        try:
            return Path(str(value)).expanduser() if hint is Path else hint(value)
        except (ValueError, OverflowError, RuntimeError):  # of a number, an integer as a float, a user's unknown home
            pass
    raise SettingsError(f"the setting {key!r} must be {_KINDS[hint]}, not {shown(value)}")
