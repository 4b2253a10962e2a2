"""The HTTP server: uvicorn, on a thread and a socket of its own."""

from __future__ import annotations

import socket
import threading
from typing import Any

import h11
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from shared.errors import SettingsError

_MOST_CONNECTIONS = 256
_IDLE_S = 30  # seconds in which a connection has to bring a request's head
_ENDING_S = 2  # seconds that answers have to end when the program does


class _Protocol(H11Protocol):
    """uvicorn's, which bounds how long a connection is silent only once it has answered on it."""

    _head_since: float | None = None  # when the head that is awaited could have begun

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._bound_head()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.their_state is h11.IDLE and not self.transport.is_closing():
            self._bound_head()
        else:
            self._head_since = None

    def _bound_head(self) -> None:
        """Close the connection unless a whole head comes in time, however many pieces it comes in."""
        now = self.loop.time()
        self._head_since = self._head_since or now
        self._unset_keepalive_if_required()
        left = max(0.0, self._head_since + _IDLE_S - now)
        self.timeout_keep_alive_task = self.loop.call_later(left, self.timeout_keep_alive_handler)


class HttpServer:
    """Listens as soon as it is made; `start` begins to answer."""

    def __init__(self, app: ASGIApp, host: str, port: int, settings: str) -> None:
        """Raises SettingsError for an address on which it can't listen; `settings` says which ones to change."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        # Named TCP: only then does asyncio send small pieces at once, and not when the last one was acknowledged.
        self._socket = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self._socket.bind((host, port))
            self._socket.listen(_MOST_CONNECTIONS)
        except (OSError, OverflowError, TypeError) as error:
            self._socket.close()
            raise SettingsError(
                f"can't listen for HTTP on {host}:{port}: {getattr(error, 'strerror', None) or error}; change {settings}"
            ) from None
        config = uvicorn.Config(
            app,
            lifespan="off",
            ws="none",
            http=_Protocol,
            loop="asyncio",
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=False,  # whoever asks could say to be somebody else
            limit_concurrency=_MOST_CONNECTIONS,
            timeout_keep_alive=_IDLE_S,
            timeout_graceful_shutdown=_ENDING_S,
            log_config=None,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [self._socket]}, name="http", daemon=True
        )

    @property
    def port(self) -> int:
        """Where it listens."""
        port: int = self._socket.getsockname()[1]
        return port

    def start(self) -> None:
        """Answer, on a thread of its own."""
        self._thread.start()

    def close(self) -> None:
        """Listen no more; answers under way break off."""
        self._server.should_exit = True
        if self._thread.is_alive():
            self._thread.join()
        self._socket.close()
