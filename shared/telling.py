"""Commands without settings: what goes wrong in them is a sentence too."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import typer

from shared.errors import SledError
from shared.install import install_command


@contextmanager
def troubles_told(program: str, extra: str) -> Iterator[None]:
    """Print a SledError of `program` and end with status 1, and so for a package of the extra `extra` that is not installed."""
    try:
        yield
    except ModuleNotFoundError as error:
        typer.echo(f"{program}: {error.name} is not installed; this command needs: {install_command(extra)}", err=True)
        raise typer.Exit(1) from None
    except SledError as error:
        typer.echo(f"{program}: {error}", err=True)
        raise typer.Exit(1) from None
