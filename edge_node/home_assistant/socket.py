"""Home Assistant's WebSocket API: what is in the home, and word of changes."""

from __future__ import annotations

import json
import time
from collections import deque
from contextlib import ExitStack
from typing import Any

from edge_node.home_assistant.rest import address
from shared.errors import HomeAssistantError

_TIMEOUT_S = 20.0
_MOST_EVENTS = 1000  # that wait to be looked at
_MOST = 64 * 2**20  # bytes of a message: the registries of a large home


class HomeAssistantSocket:
    """A connection that is logged in. To be used on one thread."""

    def __init__(self, url: str, token: str) -> None:
        """Connect and log in. Raises HomeAssistantError, SettingsError for a URL that is none."""
        from websockets.exceptions import WebSocketException
        from websockets.sync.client import connect

        scheme, host, port = address(url)
        self._open = ExitStack()
        self._broken = (OSError, TimeoutError, WebSocketException)
        where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self._where = where
        secure = "wss" if scheme == "https" else "ws"
        try:
            self._socket = self._open.enter_context(
                connect(f"{secure}://{where}/api/websocket", open_timeout=_TIMEOUT_S, max_size=_MOST, proxy=None)
            )
        except self._broken as error:
            raise HomeAssistantError(f"Home Assistant can't be reached at {where}: {error or 'no answer'}") from None
        self._number = 0
        self._events: deque[dict[str, Any]] = deque(maxlen=_MOST_EVENTS)
        try:
            self._receive()  # it asks for a token
            self._send({"type": "auth", "access_token": token})
            if self._receive().get("type") != "auth_ok":
                raise HomeAssistantError(
                    "Home Assistant does not know the token; make a new long-lived token on your profile's page and write it into the token file"
                )
        except BaseException:
            self._open.close()
            raise

    def close(self) -> None:
        """Hang up."""
        self._open.close()

    def ask(self, command: str, **fields: Any) -> Any:
        """The result of a command. Raises HomeAssistantError."""
        self._number += 1
        number = self._number
        self._send({"id": number, "type": command, **fields})
        deadline = time.monotonic() + _TIMEOUT_S
        while time.monotonic() < deadline:
            message = self._receive()
            self._note(message)
            if message.get("id") == number and message.get("type") == "result":
                if message.get("success") is not True:
                    raise HomeAssistantError(f"Home Assistant refuses {command!r}: {_reason(message)}")
                return message.get("result")
        raise HomeAssistantError(f"Home Assistant does not answer {command!r}")

    def next_event(self, timeout_s: float) -> dict[str, Any] | None:
        """What has happened next of that which was subscribed to; None if nothing does within so many seconds. Raises HomeAssistantError."""
        deadline = time.monotonic() + timeout_s
        while not self._events and (left := deadline - time.monotonic()) > 0:
            try:
                self._note(self._receive(left))
            except TimeoutError:
                break
        return self._events.popleft() if self._events else None

    def _note(self, message: dict[str, Any]) -> None:
        if message.get("type") == "event" and isinstance(message.get("event"), dict):
            self._events.append(message["event"])

    def _send(self, message: dict[str, Any]) -> None:
        try:
            self._socket.send(json.dumps(message))
        except self._broken as error:
            raise HomeAssistantError(f"the connection to Home Assistant at {self._where} is lost: {error}") from None

    def _receive(self, timeout_s: float | None = None) -> dict[str, Any]:
        """The next message. Raises HomeAssistantError, TimeoutError only with `timeout_s`."""
        try:
            message = json.loads(self._socket.recv(timeout=_TIMEOUT_S if timeout_s is None else timeout_s))
        except TimeoutError:
            if timeout_s is not None:
                raise
            raise HomeAssistantError(f"Home Assistant at {self._where} does not answer") from None
        except self._broken as error:
            raise HomeAssistantError(f"the connection to Home Assistant at {self._where} is lost: {error}") from None
        except (ValueError, RecursionError):
            raise HomeAssistantError(f"what answers at {self._where} is not Home Assistant") from None
        return message if isinstance(message, dict) else {}


def _reason(message: dict[str, Any]) -> str:
    error = message.get("error")
    told = error.get("message") if isinstance(error, dict) else None
    code = error.get("code") if isinstance(error, dict) else None
    return "the token must be an administrator's" if code == "unauthorized" else str(told or "without a word")
