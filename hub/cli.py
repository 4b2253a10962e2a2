"""The command `sled-hub`."""

from __future__ import annotations

import logging
import signal
import threading
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

from shared.loading import begin_loading, keep_imports, loaded

if __name__ == "__main__":
    begin_loading()

import typer

from hub.enrolment import commands
from hub.enrolment.access import Role
from hub.fleet.commands import top
from hub.pair_commands import pair
from hub.scratch import find_scratch
from hub.settings import HubSettings
from hub.ui.commands import ui
from shared.install import needing
from shared.metrics_port import metrics_port
from shared.options import takes_settings
from shared.program import Program
from shared.service_commands import add_service_commands
from shared.streams import note, put_line
from shared.topics import check_name

if TYPE_CHECKING:
    from shared.metrics_server import MetricsServer
    from shared.service_unit import Kind

app = Program("sled-hub", help="SLED's hub: verifies the drafts of many devices in one batch.").with_version()


@app.command()
@takes_settings(HubSettings, "hub", logging.WARNING)
def serve(settings: HubSettings) -> None:
    """Serve a pair until SIGTERM or Ctrl-C."""
    for number in (signal.SIGINT, signal.SIGTERM):
        # Nothing is lost before it serves: end at once, in the middle of an import too.
        signal.signal(number, signal.SIG_DFL)
    for package in ("torch", "transformers"):
        if find_spec(package) is None:
            raise ModuleNotFoundError(name=package)
    with metrics_port(settings.metrics) as metrics:
        _serve(settings, metrics)


def _serve(settings: HubSettings, metrics: MetricsServer | None) -> None:
    from hub.broker_check import check_broker

    check_broker(settings.broker, check_name(settings.name, "hub name"))  # before the seconds that follow
    find_scratch()
    if settings.target:
        with needing("export"):
            from hub.pairing.serving import pair_of

            settings = replace(settings, pair=pair_of(settings), target="", draft="")
    note("importing torch and transformers")
    from hub.service import Hub  # seconds of imports: only once the settings are known to be right

    keep_imports()
    hub = Hub(settings, note)
    if metrics is not None:
        from hub.metrics import ROWS

        metrics.start(ROWS, hub.metrics)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    hub.run(stop)


home = typer.Typer(help="Home Assistant.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(home, name="ha")
app.add_typer(pair, name="pair")


@home.command()
@takes_settings(HubSettings, "hub", logging.WARNING)
def remove(settings: HubSettings) -> None:
    """Have Home Assistant forget this hub's device, which MQTT discovery has made."""
    from shared.discovery import forget

    loaded()
    forget(settings.broker, settings.name)


@app.command()
def join(
    bundle: Annotated[Path, typer.Argument(help="file made by enroll")],
    config: Annotated[
        Optional[Path],
        typer.Option(
            help="Settings file. [default: ~/.config/sled/hub.toml, of an observer or a home fleet.toml there]"
        ),
    ] = None,
) -> None:
    """Take the bundle of a hub, or of an observer or a home for `top` and `ui`: try its credential at the broker, and keep it beside the settings."""
    with needing("hub"):
        from hub.broker_check import check_broker
        from hub.fleet.rights import check_observer
        from shared.bundle import read_bundle
        from shared.joining import join as join_broker

        loaded()
        role = read_bundle(bundle).role
        if role in (Role.OBSERVER.value, Role.HOME.value):
            join_broker(bundle, "fleet", config, check_observer, put_line, role)
            put_line(f"the fleet is shown by: sled-hub top{f' --config {config}' if config else ''}")
        else:
            join_broker(bundle, "hub", config, check_broker, put_line)


def _service() -> Kind:
    from hub.unit import HUB_SERVICE

    return HUB_SERVICE


add_service_commands(app, _service)
app.command("init-broker")(commands.init_broker)
app.command("enroll")(commands.enroll)
app.command("rotate")(commands.rotate)
app.command("revoke")(commands.revoke)
app.command("top")(top)
app.command("ui")(ui)


if __name__ == "__main__":
    app()
