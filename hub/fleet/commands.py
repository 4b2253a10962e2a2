"""The command `sled-hub top`."""

from __future__ import annotations

import logging
from typing import Annotated

import typer

from hub.fleet.settings import FleetSettings
from shared.loading import loaded
from shared.options import takes_settings


@takes_settings(FleetSettings, "fleet", logging.ERROR, of="hub")
def top(
    settings: FleetSettings,
    *,
    once: Annotated[bool, typer.Option("--once", help="Print tables once, and end.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object, and end.")] = False,
) -> None:
    """Show all hubs and nodes on the broker, as top shows a machine. The user needs the role observer: see docs/fleet.md."""
    from hub.fleet.top import show

    loaded()
    show(settings, once=once, as_json=as_json)
