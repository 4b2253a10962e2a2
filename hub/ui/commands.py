"""The command `sled-hub ui`."""

from __future__ import annotations

import logging

from hub.fleet.settings import FleetSettings
from shared.install import needing
from shared.loading import loaded
from shared.options import takes_settings


@takes_settings(FleetSettings, "fleet", logging.ERROR, of="hub")
def ui(settings: FleetSettings) -> None:
    """Serve a web page of all hubs and nodes on the broker, with a chat for who has the password: see docs/ui.md."""
    with needing("ui"):
        from hub.ui.serving import serve

    loaded()
    serve(settings)
