"""The command `sled-hub`."""

from __future__ import annotations

import logging
import signal
import threading

from shared.interrupts import end_at_once

if __name__ == "__main__":
    end_at_once()

from hub.settings import HubSettings
from shared.options import takes_settings
from shared.program import Program
from shared.streams import note

app = Program("sled-hub", help="SLED's hub: verifies the drafts of many devices in one batch.")


@app.callback()
def _main() -> None:
    pass


@app.command()
@takes_settings(HubSettings, "hub", logging.WARNING)
def serve(settings: HubSettings) -> None:
    """Serve a pair until SIGTERM or Ctrl-C."""
    signals = (signal.SIGINT, signal.SIGTERM)
    for number in signals:
        signal.signal(
            number, signal.SIG_DFL
        )  # nothing is lost before it serves: end at once, in the middle of an import too
    note("importing torch and transformers")
    from hub.service import Hub  # seconds of imports: only once the settings are known to be right

    hub = Hub(settings, note)
    stop = threading.Event()
    for number in signals:
        signal.signal(number, lambda *_: stop.set())
    hub.run(stop)


if __name__ == "__main__":
    app()
