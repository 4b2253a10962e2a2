"""This node as a conversation agent: a server of the Wyoming protocol, with which Home Assistant's Assist talks without an integration of its own."""

from __future__ import annotations

import logging
import queue
import secrets
import select
import socket
import socketserver
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, BinaryIO, Protocol, cast

from wyoming.asr import Transcript
from wyoming.event import Event, read_event, write_event
from wyoming.handle import Handled, HandledChunk, HandledStart, HandledStop, NotHandled
from wyoming.info import Attribution, Describe, HandleModel, HandleProgram, Info
from wyoming.ping import Ping, Pong

from shared.errors import SettingsError, SledError
from shared.program import sentence

log = logging.getLogger(__name__)

_MOST_LINE, _MOST_DATA = 16_384, 65_536  # bytes of an event's head, and of what follows
_MOST_CLIENTS = 32
_IDLE_S = 60.0  # seconds without an event, after which a client is left
_LOOK_S = 0.25  # seconds between two looks whether a client that waits is still there
_POLL_S = 0.1  # seconds between two looks whether to end
_LONGEST_S = 300.0  # seconds that an answer may take
_LOOPBACK = ("127.0.0.1", "::1")
_MOST_NAME = 64  # characters of a chat's name
_FAILED = "I could not answer that."


class Service(Protocol):
    """What answers."""

    def ask(self, text: str, chat: str, request_id: str, to: Callable[[dict[str, Any]], object]) -> None:
        """Have a request answered; `to` is given the messages of its stream, and at last its answer, which has a `finish`."""

    def cancel(self, request_id: str) -> None:
        """End the answer."""


class _Bounded:
    """A client's stream, of which no line and no piece is longer than what is taken."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def readline(self) -> bytes:
        line: bytes = self._stream.readline(_MOST_LINE + 1)
        if len(line) > _MOST_LINE:
            raise ValueError("a line is too long")
        return line

    def read(self, size: int) -> bytes:
        if not 0 <= size <= _MOST_DATA:
            raise ValueError("an event is too large")
        piece: bytes = self._stream.read(size)
        return piece


class _Handler(socketserver.StreamRequestHandler):
    timeout = _IDLE_S
    server: WyomingServer

    def handle(self) -> None:
        stream = cast("BinaryIO", _Bounded(self.rfile))
        with suppress(OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            # What is no event ends the connection, and nothing else.
            while (event := read_event(stream)) is not None:
                if Describe.is_type(event.type):
                    self._write(self.server.info.event())
                elif Ping.is_type(event.type):
                    self._write(Pong(text=Ping.from_event(event).text).event())
                elif Transcript.is_type(event.type):
                    self._answer(Transcript.from_event(event))

    def _answer(self, transcript: Transcript) -> None:
        context = transcript.context if isinstance(transcript.context, dict) else {}
        # Home Assistant tells conversations apart from version 1.6 of the protocol on; of an older one all are one chat.
        chat = str(context.get("conversation_id") or f"from {self.client_address[0]}")[:_MOST_NAME]
        chat = chat if chat.isprintable() else ""
        text = str(transcript.text).strip()
        if not text:
            self._write(NotHandled(text="I have heard nothing.", context=context or None).event())
            return
        request_id = secrets.token_hex(8)
        told: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        try:
            self.server.service.ask(text, chat, request_id, told.put)
        except SledError as error:
            self._write(NotHandled(text=sentence(str(error)), context=context or None).event())
            return
        try:
            self._write(HandledStart(context=context or None).event())
            message = self._streamed(told)
        except OSError:
            self.server.service.cancel(request_id)
            raise
        say = str(message.get("say") or "").strip()
        if message["finish"] in {"end", "stop", "length"} and say:
            self._write(Handled(text=say, context=context or None).event())
        else:
            said = message.get("error") or say or _FAILED
            self._write(NotHandled(text=sentence(str(said)), context=context or None).event())
        self._write(HandledStop().event())

    def _streamed(self, told: queue.SimpleQueue[dict[str, Any]]) -> dict[str, Any]:
        """The answer, once all that is to be spoken before was told. Raises OSError where the client has gone, or it takes too long."""
        waited = 0.0
        while waited < _LONGEST_S:
            try:
                message = told.get(timeout=_LOOK_S)
            except queue.Empty:
                waited += _LOOK_S
                self._require_client()
                continue
            if "finish" in message:
                return message
            if message.get("say"):
                self._write(HandledChunk(text=message["say"]).event())
        raise TimeoutError

    def _require_client(self) -> None:
        """Raise OSError where the client has hung up while it waited."""
        readable, _, _ = select.select([self.connection], [], [], 0)
        if readable and not self.connection.recv(1, socket.MSG_PEEK):
            raise ConnectionResetError

    def _write(self, event: Event) -> None:
        write_event(event, cast("BinaryIO", self.wfile))


class WyomingServer(socketserver.ThreadingTCPServer):
    """Listens as soon as it is made; `start` begins to answer."""

    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False

    def __init__(
        self, host: str, port: int, callers: Sequence[str], service: Service, node: str, pair: str, version: str
    ) -> None:
        """Only `callers`, host names or addresses, are talked with; everybody if there are none. Raises SettingsError for an address on which it can't listen."""
        self.service, self._callers = service, callers
        self.info = _info(node, pair, version)
        self._clients = threading.BoundedSemaphore(_MOST_CLIENTS)
        if ":" in host:
            self.address_family = socket.AF_INET6
        try:
            super().__init__((host, port), _Handler)
        except (OSError, OverflowError) as error:
            raise SettingsError(
                f"can't listen for Wyoming on {host}:{port}: {getattr(error, 'strerror', None) or error}; change home_assistant_wyoming_port or _host"
            ) from None

    def start(self) -> None:
        """Answer, on threads of its own."""
        threading.Thread(target=self.serve_forever, args=(_POLL_S,), name="wyoming", daemon=True).start()

    def close(self) -> None:
        """Listen no more."""
        self.shutdown()
        self.server_close()

    def verify_request(self, _request: Any, client_address: Any) -> bool:
        """See socketserver: the protocol has no passwords, so who may talk is known by the address."""
        address = str(client_address[0]).removeprefix("::ffff:")
        if (
            not self._callers
            or address in _LOOPBACK
            or address in {each for host in self._callers for each in _addresses(host)}
        ):
            return True
        log.warning(
            "%s may not talk Wyoming; if that is Home Assistant, name it in home_assistant_wyoming_from", address
        )
        return False

    def process_request(self, request: Any, client_address: Any) -> None:
        """See socketserver; who comes while many others are there is turned away."""
        if self._clients.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            log.warning("more than %d clients of Wyoming at once: one is turned away", _MOST_CLIENTS)
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """See socketserver."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._clients.release()

    def handle_error(self, _request: Any, client_address: Any) -> None:
        """See socketserver; a client's mistake is no news."""
        log.info("a client of Wyoming at %s failed: %r", client_address, sys.exc_info()[1])


def _addresses(host: str) -> list[str]:
    """The addresses of a host; none if it can't be found."""
    try:
        return [str(found[4][0]) for found in socket.getaddrinfo(host, None)]
    except (OSError, UnicodeError):
        return []


def _info(node: str, pair: str, version: str) -> Info:
    by = Attribution(name="SLED", url="")
    model = HandleModel(
        name=pair, attribution=by, installed=True, description=f"the pair {pair}", version=version, languages=["en"]
    )
    program = HandleProgram(
        name=f"SLED {node}",
        attribution=by,
        installed=True,
        description="speculative decoding over MQTT",
        version=version,
        models=[model],
        supports_handled_streaming=True,
        supports_home_control=True,
    )
    return Info(handle=[program])
