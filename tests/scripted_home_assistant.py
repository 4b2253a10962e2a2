"""A server with the two APIs of Home Assistant that a node uses, which can go wrong in ways that a real one rarely does.

Its answers have the form in which Home Assistant 2025.4 gives them; what it carries out is kept in `handled`.
"""

from __future__ import annotations

import json
import socket
import socketserver
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from typing import Any

from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.server import ServerProtocol

TOKEN = "a-token"
_STATES: dict[str, tuple[str, str, str, dict[str, Any]]] = {
    # entity: name, area, state, attributes
    "light.bed": ("Bed Light", "bedroom", "off", {}),
    "light.sink": ("Sink Light", "kitchen", "on", {}),
    "light.stove": ("Stove Light", "kitchen", "off", {}),
    "light.secret": ("Secret Light", "hall", "off", {}),
    "light.hall": ("Hall Light", "hall", "off", {}),
    "lock.front": ("Front Door", "hall", "locked", {}),
    "cover.kitchen": ("Kitchen Blind", "kitchen", "open", {"device_class": "blind"}),
    "climate.hall": ("Thermostat", "hall", "heat", {"min_temp": 7, "max_temp": 30, "current_temperature": 21.5}),
    "sensor.outside": ("Outside Temperature", "", "8.5", {"unit_of_measurement": "°C", "device_class": "temperature"}),
}
HIDDEN = "light.secret"
_AREAS = {"bedroom": "Bedroom", "kitchen": "Kitchen", "hall": "Hall"}


class ScriptedHomeAssistant(socketserver.ThreadingTCPServer):
    """Listens on a port of its own until it is closed."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Front)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.names = {entity: name for entity, (name, *_) in _STATES.items()}
        self.was_read = False  # whether somebody has asked for the last thing that is read of a home
        self.handled: list[dict[str, Any]] = []
        self.on_intent: Callable[[dict[str, Any]], tuple[int, Any] | None] = self.succeed
        self.sockets: list[_WebSocket] = []
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self.shutdown()
        self.server_close()
        for each in self.sockets:
            each.close()

    def succeed(self, told: dict[str, Any]) -> tuple[int, Any]:
        """What Home Assistant answers when a call was carried out: no words, but the entities."""
        given = told["data"]
        if "name" in given:
            entities = [given["name"]]
        else:
            domains = given.get("domain", [])
            entities = [
                entity
                for entity, (_, area, *_) in _STATES.items()
                if area == given.get("area", area) and entity.partition(".")[0] in domains
            ]
        targets = [{"name": self.names.get(each, each), "type": "entity", "id": each} for each in entities]
        data = {"targets": [], "success": targets, "failed": []}
        return 200, {"speech": {}, "card": {}, "language": "en", "response_type": "action_done", "data": data}

    def states(self) -> list[dict[str, Any]]:
        return [
            {"entity_id": entity, "state": state, "attributes": {"friendly_name": self.names[entity], **attributes}}
            for entity, (_, _, state, attributes) in _STATES.items()
        ]

    def rename(self, entity: str, name: str) -> None:
        """Call an entity otherwise, and tell who follows."""
        self.names[entity] = name
        for each in self.sockets:
            each.send({"id": 1, "type": "event", "event": {"event_type": "entity_registry_updated"}})

    def result(self, command: dict[str, Any]) -> Any:
        """The result of a command of the WebSocket API."""
        self.was_read = self.was_read or command["type"] == "get_config"
        results: dict[str, Callable[[], Any]] = {
            "config/floor_registry/list": lambda: [{"floor_id": "ground", "name": "Ground Floor", "aliases": []}],
            "config/area_registry/list": lambda: [
                {"area_id": area, "name": name, "aliases": [], "floor_id": "ground"} for area, name in _AREAS.items()
            ],
            "config/device_registry/list": list,
            "config/entity_registry/list": lambda: [
                {"entity_id": entity, "area_id": area, "device_id": None, "disabled_by": None}
                for entity, (_, area, *_) in _STATES.items()
            ],
            "config/entity_registry/get_entries": lambda: {
                entity: {"entity_id": entity, "aliases": ["night light"] if entity == "light.bed" else []}
                for entity in command["entity_ids"]
            },
            "homeassistant/expose_entity/list": lambda: {
                "exposed_entities": {entity: {"conversation": True} for entity in _STATES if entity != HIDDEN}
            },
            "get_states": self.states,
            "get_config": lambda: {"unit_system": {"temperature": "°C"}},
            "subscribe_events": lambda: None,
        }
        return results[command["type"]]()


class _WebSocket:
    """The server's end of a WebSocket that a client has just asked for."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection, self._protocol = connection, ServerProtocol()
        self._writing = threading.Lock()
        self._arrived: deque[Any] = deque()
        request = self._next()
        assert isinstance(request, Request)
        self._protocol.send_response(self._protocol.accept(request))
        self._write()

    def recv(self) -> dict[str, Any]:
        """The next message. Raises EOFError when the client has gone."""
        while True:
            event = self._next()
            if isinstance(event, Frame) and event.opcode is Opcode.CLOSE:
                raise EOFError
            if isinstance(event, Frame) and event.opcode is Opcode.TEXT:
                message: dict[str, Any] = json.loads(bytes(event.data))
                return message

    def send(self, message: dict[str, Any]) -> None:
        with self._writing:  # a test may send word of a change from its own thread
            self._protocol.send_text(json.dumps(message).encode())
            self._write()

    def close(self) -> None:
        """Break off without a word."""
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)

    def _next(self) -> Any:
        while not self._arrived:
            received = self._connection.recv(65_536)
            if not received:
                raise EOFError
            self._protocol.receive_data(received)
            self._arrived.extend(self._protocol.events_received())
            self._write()
        return self._arrived.popleft()

    def _write(self) -> None:
        for data in self._protocol.data_to_send():
            self._connection.sendall(data)


class _Front(socketserver.BaseRequestHandler):
    server: ScriptedHomeAssistant

    def handle(self) -> None:
        if b"/api/websocket" in self.request.recv(64, socket.MSG_PEEK):
            with suppress(OSError, EOFError):
                self._talk(_WebSocket(self.request))
        else:
            _Rest(self.request, self.client_address, self.server)

    def _talk(self, connection: _WebSocket) -> None:
        connection.send({"type": "auth_required"})
        is_known = connection.recv()["access_token"] == TOKEN
        connection.send({"type": "auth_ok" if is_known else "auth_invalid"})
        if not is_known:
            return
        self.server.sockets.append(connection)
        while True:
            command = connection.recv()
            result = self.server.result(command)
            connection.send({"id": command["id"], "type": "result", "success": True, "result": result})


class _Rest(BaseHTTPRequestHandler):
    server: ScriptedHomeAssistant

    def do_GET(self) -> None:
        self._answer(200, self.server.states())

    def do_POST(self) -> None:
        told = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.headers["Authorization"] != f"Bearer {TOKEN}":
            self._answer(401, {})
            return
        self.server.handled.append(told)
        answer = self.server.on_intent(told)
        if answer is None:
            self.connection.shutdown(socket.SHUT_RDWR)  # it hangs up in the middle
        else:
            self._answer(*answer)

    def _answer(self, status: int, content: Any) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass
