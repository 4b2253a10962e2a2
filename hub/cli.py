"""The command `sled-hub`."""

from __future__ import annotations

import logging
import signal
import threading
from pathlib import Path
from typing import Annotated, Optional

import typer

from hub.settings import Exits, HubSettings, Sharing, Weights
from shared.errors import SettingsError, SledError
from shared.settings import load

app = typer.Typer(help="SLED's hub: verifies the drafts of many devices in one batch.", no_args_is_help=True)


@app.callback()
def _main() -> None:
    pass


@app.command()
def serve(
    config: Annotated[Optional[Path], typer.Option(help="settings file (default ~/.config/sled/hub.toml)")] = None,
    name: Annotated[Optional[str], typer.Option(help="the hub's name in its topics")] = None,
    pair: Annotated[Optional[str], typer.Option(help="built-in name or folder of the pair to serve")] = None,
    device: Annotated[Optional[str], typer.Option(help="auto, cpu, cuda or cuda:N")] = None,
    dtype: Annotated[Optional[str], typer.Option(help="auto (the pair's own), float32, bfloat16 or float16")] = None,
    weights: Annotated[Optional[Weights], typer.Option(help="auto (as dtype says) or int8")] = None,
    exits: Annotated[Optional[Exits], typer.Option(help="early verdicts: auto, always or off")] = None,
    threads: Annotated[
        Optional[int], typer.Option(help="CPU threads; 0 = what is fastest, measured at the start")
    ] = None,
    window_ms: Annotated[
        Optional[float], typer.Option(help="how long a batch waits for drafts; 0 = as it pays")
    ] = None,
    kv_memory: Annotated[Optional[str], typer.Option(help="memory for K/V pages: 512M, 4G or auto")] = None,
    share_prefixes: Annotated[Optional[Sharing], typer.Option(help="who shares prompts' K/V: hub, node or off")] = None,
    budget: Annotated[Optional[int], typer.Option(help="most ids of one forward")] = None,
    max_sessions: Annotated[Optional[int], typer.Option(help="most open sessions")] = None,
    max_sessions_per_node: Annotated[Optional[int], typer.Option(help="most open sessions of one node")] = None,
    max_queue: Annotated[Optional[int], typer.Option(help="sessions with work while which no other is opened")] = None,
    broker_host: Annotated[Optional[str], typer.Option(help="address of the MQTT broker")] = None,
    broker_port: Annotated[Optional[int], typer.Option(help="port of the MQTT broker")] = None,
    broker_prefix: Annotated[Optional[str], typer.Option(help="first levels of every topic")] = None,
    broker_password_file: Annotated[Optional[Path], typer.Option(help="file (mode 0600) with the password")] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="log every session")] = False,
) -> None:
    """Serve a pair until SIGTERM or Ctrl-C."""
    options = {k: v for k, v in locals().items() if k not in ("config", "verbose")}
    logging.basicConfig(
        level=logging.INFO if verbose else logging.WARNING, format="%(levelname)s %(name)s: %(message)s"
    )
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    try:
        settings = load(HubSettings, "hub", options, config)
        typer.echo("importing torch and transformers", err=True)
        try:
            from hub.service import Hub  # seconds of imports: only once the settings are known to be right
        except ModuleNotFoundError as error:
            raise SettingsError(f"{error.name} is not installed; a hub needs: pip install 'sled[hub]'") from None
        Hub(settings, lambda line: typer.echo(line, err=True)).run(stop)
    except SledError as error:
        typer.echo(f"sled-hub: {error}", err=True)
        raise typer.Exit(1) from None


if __name__ == "__main__":
    app()
