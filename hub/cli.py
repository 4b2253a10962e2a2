"""The command `sled-hub`."""

from __future__ import annotations

import logging
import signal
import threading
from pathlib import Path
from typing import Annotated, Optional

import typer

from hub.enrolment import commands
from hub.settings import HubSettings
from shared.options import takes_settings
from shared.telling import troubles_told
from shared.topics import check_name

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
    from hub.broker_check import check_broker

    check_broker(settings.broker, check_name(settings.name, "hub name"))  # before the seconds that follow
    typer.echo("importing torch and transformers", err=True)
    from hub.service import Hub  # seconds of imports: only once the settings are known to be right

    Hub(settings, lambda line: typer.echo(line, err=True)).run(stop)


@app.command()
def join(
    bundle: Annotated[Path, typer.Argument(help="file made by enroll")],
    config: Annotated[Optional[Path], typer.Option(help="settings file. Default: ~/.config/sled/hub.toml.")] = None,
) -> None:
    """Take a hub's bundle: try its credential at the broker, and keep it beside the settings."""
    with troubles_told("sled-hub", "hub"):
        from hub.broker_check import check_broker
        from shared.joining import join as join_broker

        join_broker(bundle, "hub", config, check_broker, typer.echo)


app.command("init-broker")(commands.init_broker)
app.command("enroll")(commands.enroll)
app.command("rotate")(commands.rotate)
app.command("revoke")(commands.revoke)


if __name__ == "__main__":
    app()
