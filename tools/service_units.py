"""Writes deploy/systemd: the units and settings files that `install-service` writes on a Debian 12, `python -m tools.service_units`."""

from __future__ import annotations

from pathlib import Path

from edge_node.unit import NODE_SERVICE
from hub.unit import HUB_SERVICE
from shared.service_unit import JETSON, SETTINGS, settings_text, unit_text

FOLDER = Path(__file__).resolve().parent.parent / "deploy" / "systemd"
_DEBIAN_12 = 252


def files() -> dict[Path, str]:
    """The files in deploy/systemd."""
    written = {}
    for kind in (NODE_SERVICE, HUB_SERVICE):
        settings = SETTINGS / f"{kind.program}.toml"
        executable = f"/opt/sled/bin/sled-{kind.program}"
        written[FOLDER / kind.unit] = unit_text(kind, executable, settings, ("password",), _DEBIAN_12)
        written[FOLDER / settings.name] = settings_text(kind)
    written[FOLDER / "jetson.conf"] = JETSON
    return written


if __name__ == "__main__":
    for path, text in files().items():
        path.write_text(text, encoding="utf-8")
