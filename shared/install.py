"""What is not installed, and the command that installs it, for where the code runs."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shared.errors import SettingsError

_ROOT = Path(__file__).resolve().parent.parent
_OWN = ("edge_node", "hub", "shared")


def install_command(extra: str, root: Path = _ROOT) -> str:
    """The command for an extra such as "hub". `root` is the folder of the packages: a checkout has a pyproject.toml there."""
    source = str(root) if (root / "pyproject.toml").is_file() else "sled-mqtt"
    return f"pip install {shlex.quote(f'{source}[{extra}]')}"


@contextmanager
def needing(extra: str) -> Iterator[None]:
    """Say of another's package that is missing inside which `extra` has it. Raises SettingsError."""
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] in _OWN:
            raise
        raise SettingsError(f"{error.name} is not installed; this command needs: {install_command(extra)}") from None
