"""A bundle: one file with all that a device needs to reach the broker, and that makes it who it is there."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields
from pathlib import Path

from shared.errors import SettingsError
from shared.text_file import MOST_TOML, parse_toml, read_text
from shared.topics import Topics, check_name

_HEAD = "# Whoever has this file can speak on the broker in the name below. Take it with: sled-node join, or sled-hub join\n"


@dataclass(frozen=True)
class Bundle:
    """Where the broker is, by what it is known, and a credential: a password, or a certificate and its key (all in PEM)."""

    name: str
    role: str
    host: str
    port: int
    prefix: str
    ca: str
    password: str = field(default="", repr=False)
    certificate: str = ""
    key: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        check_name(self.name, "name in the bundle")
        Topics(self.prefix)
        if bool(self.password) == bool(self.certificate and self.key):
            raise SettingsError("a bundle holds either a password, or a certificate and its key")

    def text(self) -> str:
        """The file's content, in TOML."""
        given = {f.name: getattr(self, f.name) for f in fields(self)}
        return _HEAD + "".join(f"{key} = {json.dumps(value)}\n" for key, value in given.items() if value)


def read_bundle(path: Path) -> Bundle:
    """The bundle in `path`. Raises SettingsError for a file that others could read or that is no bundle."""
    text = read_text(path, "the bundle", SettingsError, most=MOST_TOML, private=True)
    try:
        values = parse_toml(text)
        kinds = {f.name: int if f.name == "port" else str for f in fields(Bundle)}
        if any(type(value) is not kinds.get(key) for key, value in values.items()):
            values = {}
        return Bundle(**values)
    except (ValueError, TypeError):  # whose text could quote a password
        raise SettingsError(f"{path} is not a bundle, or it is damaged; make one with: sled-hub enroll") from None
