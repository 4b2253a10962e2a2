"""The service as a program: signals, and what systemd is told."""

from __future__ import annotations

import signal
from typing import Any

from edge_node.assembly import Node
from edge_node.service.service import NodeService
from edge_node.settings import NodeSettings
from shared.streams import note
from shared.systemd import READY, STOPPING, Heartbeat, notify


def run(settings: NodeSettings) -> None:
    """Serve until SIGTERM or Ctrl-C. Raises SledError when the pair can't be loaded or the broker can't be reached."""
    node = Node(settings)
    service = NodeService(settings, node)

    def end(*_: Any) -> None:
        notify(STOPPING)
        service.end()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    node.connect()
    try:
        service.run(lambda: _ready(settings), Heartbeat().beat)
    finally:
        node.close()


def _ready(settings: NodeSettings) -> None:
    notify(READY)
    note(f"node {settings.name!r} answers on {settings.broker.prefix}/node/{settings.name}/ask")
