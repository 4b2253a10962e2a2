"""The command that installs an extra of this distribution, for where the code runs."""

from __future__ import annotations

import shlex
from pathlib import Path

_ROOT = Path(__file__).resolve().parent.parent


def install_command(extra: str, root: Path = _ROOT) -> str:
    """The command for an extra such as "hub". `root` is the folder of the packages: a checkout has a pyproject.toml there."""
    source = str(root) if (root / "pyproject.toml").is_file() else "sled-mqtt"
    return f"pip install {shlex.quote(f'{source}[{extra}]')}"
