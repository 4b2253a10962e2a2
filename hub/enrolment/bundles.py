"""Bundles on the broker's machine: where they are written, and for whom."""

from __future__ import annotations

import os
from pathlib import Path

from shared.bundle import Bundle
from shared.errors import SettingsError
from shared.private_file import PRIVATE, write_file


def bundle_file(name: str, out: Path | None) -> Path:
    """Where the bundle of `name` goes. Raises SettingsError where there is a file already: it may be somebody's credential."""
    path = out or Path(f"{name}.bundle")
    if os.path.lexists(path):
        raise SettingsError(f"{path} is there already; remove it, or name another file with --out")
    return path


def write_bundle(bundle: Bundle, path: Path) -> None:
    """Write the file, for whoever has called sudo where it is root's. Raises SettingsError."""
    ids = os.environ.get("SUDO_UID", ""), os.environ.get("SUDO_GID", "")
    owner = (int(ids[0]), int(ids[1])) if os.geteuid() == 0 and ids[0].isdigit() and ids[1].isdigit() else None
    try:
        write_file(path, bundle.text(), PRIVATE, owner)
    except OSError as error:
        raise SettingsError(
            f"cannot write {path}: {error.strerror}; {bundle.name!r} is enrolled, `sled-hub rotate {bundle.name}` makes its bundle"
        ) from None
