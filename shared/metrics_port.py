"""The port at which a program's figures can be read, where its settings name one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from shared.metrics_settings import MetricsSettings
from shared.program import sentence
from shared.streams import note

if TYPE_CHECKING:
    from shared.metrics_server import MetricsServer


@contextmanager
def metrics_port(settings: MetricsSettings) -> Iterator[MetricsServer | None]:
    """A server that listens until the context ends, and answers once it is started; None without a port. Raises SettingsError for one that is taken."""
    if not settings.port:
        yield None
        return
    from shared.metrics_server import MetricsServer  # a tenth of a second of imports, on a fast machine

    server = MetricsServer(settings.host, settings.port)
    try:
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        note(sentence(f"Prometheus reads this program's figures at http://{host}:{settings.port}/metrics"))
        yield server
    finally:
        server.close()
