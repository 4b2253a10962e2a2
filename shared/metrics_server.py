"""The HTTP endpoint that Prometheus reads: few threads, each for a short time, however many ask and however slowly."""

from __future__ import annotations

import logging
import socket
import socketserver
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from http.server import ThreadingHTTPServer
from typing import Any

from prometheus_client import CollectorRegistry, MetricsHandler, ProcessCollector

from shared.errors import SettingsError
from shared.metrics import Figures, Row

log = logging.getLogger(__name__)

_MOST = 8  # connections that are answered at once, each by a thread
_WAITING = 16  # connections that the kernel holds ready
_LONGEST_S = 5.0  # seconds that a connection may take: an answer takes milliseconds
_GIVE_WAY_S = 0.5  # seconds in which the oldest connection ends for a new one
_PAUSE_S = 0.05  # seconds after a connection in which no other is taken: a flood takes little of the interpreter's lock
_POLL_S = 0.25  # seconds between two looks at what takes too long, and whether to end


class _Handler(MetricsHandler):
    timeout = _LONGEST_S


class MetricsServer(ThreadingHTTPServer):
    """Listens as soon as it is made; `start` begins to answer. prometheus_client's own has a thread for whoever comes, as long as they like."""

    allow_reuse_port = False  # two programs at one port would be read in turn
    request_queue_size = _WAITING

    def __init__(self, host: str, port: int) -> None:
        """Raises SettingsError for an address on which it can't listen."""
        self._registry = CollectorRegistry()
        self._seats = threading.BoundedSemaphore(_MOST)
        self._since: dict[socket.socket, float] = {}  # when each connection came, the oldest first
        self._thread = threading.Thread(target=self.serve_forever, args=(_POLL_S,), name="metrics", daemon=True)
        if ":" in host:
            self.address_family = socket.AF_INET6
        try:
            super().__init__((host, port), _Handler.factory(self._registry))
        except (OSError, OverflowError, UnicodeError) as error:
            raise SettingsError(
                f"can't listen for Prometheus on {host}:{port}: {getattr(error, 'strerror', None) or error}; change metrics_port or metrics_host"
            ) from None

    def server_bind(self) -> None:
        """See socketserver. http.server would ask the name service for a name that nobody needs, and wait for it."""
        socketserver.TCPServer.server_bind(self)
        host, self.server_port = self.server_address[:2]
        self.server_name = str(host)

    def start(self, rows: Sequence[Row], figures: Callable[[], Mapping[str, Any]]) -> None:
        """Answer with these metrics, and with what the process takes of the machine. `figures` is called at each scrape, on a thread of the server's."""
        self._registry.register(Figures(rows, figures))
        ProcessCollector(registry=self._registry)
        self._thread.start()

    def close(self) -> None:
        """Listen no more."""
        if self._thread.is_alive():
            self.shutdown()
        self.server_close()

    def process_request(self, request: Any, client_address: Any) -> None:
        """See socketserver. While there are too many the oldest gives way: whoever scrapes in earnest is soon done."""
        if not self._seats.acquire(blocking=False):
            log.info("more than %d connections to the metrics at once: the oldest is closed", _MOST)
            for oldest in list(self._since)[:1]:
                self._end(oldest)
            if not self._seats.acquire(timeout=_GIVE_WAY_S):
                self.shutdown_request(request)
                return
        self._since[request] = time.monotonic()
        try:
            super().process_request(request, client_address)
        except RuntimeError:  # there are no threads left on this machine
            self._leave(request)
            raise
        time.sleep(_PAUSE_S)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """See socketserver."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._leave(request)

    def service_actions(self) -> None:
        """See socketserver: close what takes too long, be it byte by byte."""
        latest = time.monotonic() - _LONGEST_S
        for connection, since in list(self._since.items()):
            if since < latest:
                self._end(connection)

    def handle_error(self, _request: Any, client_address: Any) -> None:
        """See socketserver. A client's mistake is no news, a mistake of ours is."""
        error = sys.exc_info()[1]
        if isinstance(error, OSError | ValueError):
            log.info("a reader of the metrics at %s failed: %r", client_address, error)
        else:
            log.error("the metrics could not be read", exc_info=error)

    def _leave(self, request: socket.socket) -> None:
        del self._since[request]
        self._seats.release()

    def _end(self, connection: socket.socket) -> None:
        with suppress(OSError):  # it has ended just now
            connection.shutdown(socket.SHUT_RDWR)
