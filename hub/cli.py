"""The command `sled-hub`."""

from __future__ import annotations

import logging
import signal
import threading

import typer

from hub.settings import HubSettings
from shared.options import takes_settings

app = typer.Typer(help="SLED's hub: verifies the drafts of many devices in one batch.", no_args_is_help=True)


@app.callback()
def _main() -> None:
    pass


@app.command()
@takes_settings(HubSettings, "hub", logging.WARNING)
def serve(settings: HubSettings) -> None:
    """Serve a pair until SIGTERM or Ctrl-C."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    typer.echo("importing torch and transformers", err=True)
    from hub.service import Hub  # seconds of imports: only once the settings are known to be right

    Hub(settings, lambda line: typer.echo(line, err=True)).run(stop)


if __name__ == "__main__":
    app()
