"""Installs Node-RED from npm into a folder of its own, once."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from shared.streams import put_line

VERSION = "4.1.15"
_LEAST_NODE = (18, 5)
FOLDER = Path(__file__).resolve().parents[2] / "build" / f"node-red-{VERSION}"


def installed(folder: Path = FOLDER) -> list[str]:
    """The beginning of Node-RED's command line, once it is in `folder`. Raises RuntimeError with what to do where it can't be had."""
    node, npm = _program("node"), _program("npm")
    _require_version(node)
    script, done = folder / "node_modules" / "node-red" / "red.js", folder / ".installed"
    if not done.exists():
        put_line(f"installing Node-RED {VERSION} (about 120 MB) by npm into {folder}")
        folder.mkdir(parents=True, exist_ok=True)
        command = [npm, "install", "--prefix", str(folder), "--no-audit", "--no-fund", f"node-red@{VERSION}"]
        if subprocess.run(command, check=False).returncode:
            raise RuntimeError(
                f"npm could not install Node-RED {VERSION}; it says why above, often that there is no network. Try again"
            )
        done.touch()
    return [node, str(script)]


def _program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise RuntimeError(
            f"{name} is not installed; Node-RED needs Node.js {'.'.join(map(str, _LEAST_NODE))} or later with npm"
            " (on Debian 13 and Ubuntu 24.04 or later: sudo apt install nodejs npm)"
        )
    return found


def _require_version(node: str) -> None:
    said = subprocess.run([node, "--version"], check=False, capture_output=True, text=True).stdout.strip()
    numbers = said.removeprefix("v").split(".")[:2]
    if not all(number.isdigit() for number in numbers) or tuple(map(int, numbers)) < _LEAST_NODE:
        raise RuntimeError(
            f"Node-RED {VERSION} needs Node.js {'.'.join(map(str, _LEAST_NODE))} or later; here is {said!r:.40}"
        )
