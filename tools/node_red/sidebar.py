"""What Node-RED's debug nodes show: its editor's messages over a WebSocket, of which a reader needs little."""

from __future__ import annotations

import base64
import json
import queue
import secrets
import socket
import struct
import threading
from contextlib import suppress
from typing import IO, Any

_TEXT, _CLOSE, _CONTINUED = 1, 8, 0
_MOST = 1 << 24  # bytes of a frame
_CONNECT_S = 10.0


class Sidebar:
    """Reads on a thread until it is closed; what was shown is taken from `shown` as (name of the debug node, value)."""

    def __init__(self, port: int) -> None:
        """Connect to the Node-RED at that port of this machine. Raises OSError and RuntimeError."""
        self.shown: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
        self._socket = socket.create_connection(("127.0.0.1", port), _CONNECT_S)
        key = base64.b64encode(secrets.token_bytes(16)).decode()
        asked = {"Host": f"127.0.0.1:{port}", "Upgrade": "websocket", "Connection": "Upgrade"}
        asked |= {"Sec-WebSocket-Key": key, "Sec-WebSocket-Version": "13"}
        head = "".join(f"{name}: {value}\r\n" for name, value in asked.items())
        self._socket.sendall(f"GET /comms HTTP/1.1\r\n{head}\r\n".encode())
        self._stream = self._socket.makefile("rb")
        status = self._stream.readline().decode(errors="replace").strip()
        if " 101 " not in status:
            raise RuntimeError(f"Node-RED does not tell what its debug nodes show: {status!r:.100}")
        while self._stream.readline().strip():
            pass
        self._socket.settimeout(None)
        self._thread = threading.Thread(target=self._read, name="sidebar", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Leave Node-RED."""
        with suppress(OSError):  # Node-RED has left first
            self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._stream.close()
        self._socket.close()

    def _read(self) -> None:
        with suppress(OSError):  # it was closed, or Node-RED has ended
            while (message := _message(self._stream)) is not None:
                for each in json.loads(message):
                    if each.get("topic") == "debug":
                        self._take(each["data"])

    def _take(self, data: dict[str, Any]) -> None:
        is_object = data.get("format") in {"Object", "array"} or str(data.get("format")).startswith("array[")
        self.shown.put((str(data.get("name")), json.loads(data["msg"]) if is_object else data.get("msg")))


def _message(stream: IO[bytes]) -> str | None:
    """The next text message of a WebSocket's server; None at its end."""
    parts = []
    while len(head := stream.read(2)) == 2:
        kind, length = head[0] & 0x0F, head[1] & 0x7F
        if length == 126:
            (length,) = struct.unpack("!H", stream.read(2))
        elif length == 127:
            (length,) = struct.unpack("!Q", stream.read(8))
        if kind == _CLOSE or length > _MOST:
            return None
        content = stream.read(length)
        if kind in {_TEXT, _CONTINUED}:
            parts.append(content)
            if head[0] & 0x80:
                return b"".join(parts).decode()
    return None
