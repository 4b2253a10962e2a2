"""The server for Home Assistant's Assist, over real sockets and with the protocol's own library on the other side."""

from __future__ import annotations

import queue
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, BinaryIO, cast

import pytest
from wyoming.asr import Transcript
from wyoming.event import Event, read_event, write_event
from wyoming.info import Describe, Info

from edge_node.home_assistant.wyoming_server import WyomingServer
from shared.errors import RequestError, SettingsError
from tests.waiting import wait_until
from tools.rig.broker import free_port


class _Service:
    """Answers what the test says."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self.cancelled: list[str] = []
        self.messages: list[dict[str, Any]] = []

    def ask(self, text: str, chat: str, request_id: str, to: Callable[[dict[str, Any]], object]) -> None:
        if text == "bad":
            raise RequestError("that is no text")
        self.asked.append((text, chat))
        for message in self.messages:
            to({"id": request_id, **message})

    def cancel(self, request_id: str) -> None:
        self.cancelled.append(request_id)


class _Client:
    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self.stream = cast("BinaryIO", self.socket.makefile("rwb"))

    def say(self, text: str, **more: Any) -> None:
        write_event(Transcript(text=text, **more).event(), self.stream)

    def hear(self) -> Event:
        event = read_event(self.stream)
        assert event is not None
        return event

    def close(self) -> None:
        self.stream.close()
        self.socket.close()


@pytest.fixture
def service() -> _Service:
    return _Service()


@pytest.fixture
def port(service: _Service) -> Iterator[int]:
    number = free_port()
    server = WyomingServer("127.0.0.1", number, (), service, "pi", "home", "1.0")
    server.start()
    yield number
    server.close()


@pytest.fixture
def client(port: int) -> Iterator[_Client]:
    client = _Client(port)
    yield client
    client.close()


def test_it_says_what_it_is(client: _Client) -> None:
    write_event(Describe().event(), client.stream)
    info = Info.from_event(client.hear())
    assert [(program.name, program.supports_handled_streaming) for program in info.handle] == [("SLED pi", True)]
    assert info.handle[0].models[0].languages == ["en"]


def test_an_answer_is_streamed_and_then_told_whole(client: _Client, service: _Service) -> None:
    service.messages = [{"say": "Once "}, {"say": ""}, {"say": "more."}, {"finish": "end", "say": "Once more."}]
    client.say("again", context={"conversation_id": "c1"})
    heard = [client.hear() for _ in range(5)]
    assert [event.type for event in heard] == [
        "handled-start",
        "handled-chunk",
        "handled-chunk",
        "handled",
        "handled-stop",
    ]
    assert heard[3].data == {"text": "Once more.", "context": {"conversation_id": "c1"}}
    assert service.asked == [("again", "c1")]
    client.say("again")  # a client that tells no conversations apart has one
    assert client.hear().type == "handled-start"
    assert service.asked[1] == ("again", "from 127.0.0.1")


@pytest.mark.parametrize(
    ("text", "message", "says"),
    [
        ("x", {"finish": "busy", "error": "ask again later"}, "ask again later"),
        ("x", {"finish": "error", "error": "no hub\x1b[2J"}, "no hub"),
        ("x", {"finish": "cancelled", "say": ""}, "I could not answer that."),
        ("x", {"finish": "end", "say": " "}, "I could not answer that."),
    ],
)
def test_what_was_not_answered_is_no_success(
    client: _Client, service: _Service, text: str, message: dict[str, Any], says: str
) -> None:
    service.messages = [message]
    client.say(text)
    event = next(event for event in iter(client.hear, None) if event.type == "not-handled")
    assert says in event.data["text"]
    assert "\x1b" not in event.data["text"]


@pytest.mark.parametrize("text", ["", "  ", "bad"])
def test_what_is_no_request_gets_a_sentence(client: _Client, text: str) -> None:
    client.say(text)
    assert client.hear().type == "not-handled"


def test_who_hangs_up_is_not_answered_on(client: _Client, service: _Service) -> None:
    client.say("a long story")
    wait_until(lambda: bool(service.asked))
    client.close()
    wait_until(lambda: bool(service.cancelled))


@pytest.mark.parametrize(
    "junk",
    [
        b"\n",
        b"{}\n",
        b"[1]\n",
        b"null\n",
        b"\xff\xfe\n",
        b'{"type": 3}\n',
        b'{"type": "transcript"}\n',
        b'{"type": "transcript", "data": {"text": {"a": 1}, "context": 7}}\n',
        b'{"type": "transcript", "data_length": -5}\n',
        b'{"type": "x", "data_length": 99999999999}\n',
        b'{"type": "x", "payload_length": 99999999999}\n',
        b'{"type": "x", "data_length": "7"}\n',
        b"x" * 40_000,
        b"[" * 10_000 + b"\n",
    ],
)
def test_junk_ends_one_connection_and_nothing_else(port: int, junk: bytes) -> None:
    client, other = _Client(port), _Client(port)
    with suppress(OSError):  # it may have hung up by then
        client.socket.sendall(junk)
        client.socket.shutdown(socket.SHUT_WR)
        while client.socket.recv(4096):
            pass
    write_event(Describe().event(), other.stream)
    assert other.hear().type == "info"
    client.close()
    other.close()


def test_only_so_many_are_talked_with(port: int) -> None:
    clients = [_Client(port) for _ in range(40)]
    answered: queue.SimpleQueue[bool] = queue.SimpleQueue()

    def describe(client: _Client) -> None:
        try:
            write_event(Describe().event(), client.stream)
            answered.put(read_event(client.stream) is not None)
        except OSError:
            answered.put(False)

    for client in clients:
        threading.Thread(target=describe, args=(client,), daemon=True).start()
    results = [answered.get(timeout=10) for _ in clients]
    assert results.count(True) == 32
    for client in clients:
        client.close()
    wait_until(lambda: _is_answered(port))


def _is_answered(port: int) -> bool:
    client = _Client(port)
    try:
        write_event(Describe().event(), client.stream)
        return read_event(client.stream) is not None
    except OSError:
        return False
    finally:
        client.close()


def test_an_address_that_is_taken_is_told() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(SettingsError, match="can't listen for Wyoming"),
    ):
        WyomingServer("127.0.0.1", taken.getsockname()[1], (), _Service(), "pi", "home", "1")


@pytest.mark.parametrize(("callers", "may"), [((), True), (("192.0.2.7",), False), (("192.0.2.7", "127.0.0.2"), True)])
def test_only_who_is_named_is_talked_with(service: _Service, callers: tuple[str, ...], may: bool) -> None:
    server = WyomingServer("0.0.0.0", 0, callers, service, "pi", "home", "1")
    server.start()
    try:
        with socket.create_connection(
            ("127.0.0.1", server.server_address[1]), timeout=10, source_address=("127.0.0.2", 0)
        ) as client:
            stream = cast("BinaryIO", client.makefile("rwb"))
            with suppress(OSError):
                write_event(Describe().event(), stream)
                assert (read_event(stream) is not None) == may
    finally:
        server.close()
