"""The commands `install-service` and `uninstall-service` of both programs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from shared.loading import loaded
from shared.program import Program
from shared.streams import put_line

if TYPE_CHECKING:
    from shared.service_unit import Kind


def add_service_commands(app: Program, kind: Callable[[], Kind]) -> None:
    """Give a program both commands; `kind` says what its unit is, once that is wanted."""

    @app.command("install-service")
    def install_service(
        config: Annotated[
            Optional[Path],
            typer.Option(
                help="Settings file, written if it is not there. [default: node.toml or hub.toml below /etc/sled]"
            ),
        ] = None,
        *,
        dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would be written and run.")] = False,
    ) -> None:
        """Have systemd run this program from now on, and start it whenever the machine starts."""
        from shared.service_unit import install

        loaded()
        install(kind(), config, dry_run=dry_run, say=put_line)

    @app.command("uninstall-service")
    def uninstall_service() -> None:
        """End the service; settings and credential stay."""
        from shared.service_unit import uninstall

        loaded()
        uninstall(kind(), say=put_line)
