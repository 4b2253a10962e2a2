"""The node's HTTP server, asked by the clients that people have, and by those that mean it no good."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from edge_node.settings import HttpSettings
from shared import http_server
from shared.errors import SettingsError
from tests.waiting import wait_until
from tools.gateway.ollama_trial import OllamaTrial
from tools.gateway.openai_trial import OpenAITrial
from tools.gateway.served import LIGHTS, Served, Trial, served

pytestmark = pytest.mark.slow

KINDS: list[type[OpenAITrial | OllamaTrial]] = [OpenAITrial, OllamaTrial]
TIMED = "first_token"  # which says nothing while other tests run


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("gateway")) as running:
        yield running


def checks_of(kind: type[OpenAITrial | OllamaTrial]) -> list[str]:
    names = [name for name in vars(kind) if not name.startswith("_") and name not in {"checks", "close"}]
    return [name for name in names if name != TIMED]


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind in KINDS for name in checks_of(kind)])
def test_with_the_clients_own_programs(serving: Served, kind: type[OpenAITrial | OllamaTrial], name: str) -> None:
    trial = Trial(serving)
    with closing(kind(trial)) as checks:
        getattr(checks, name)()
    assert not trial.failed


@pytest.mark.parametrize("trial", KINDS)
def test_every_check_is_run(serving: Served, trial: type[OpenAITrial | OllamaTrial]) -> None:
    with closing(trial(Trial(serving))) as made:
        ran = [check.__name__ for check in made.checks]
    assert [name for name in ran if name != TIMED] == checks_of(trial)


def chat(**given: Any) -> dict[str, Any]:
    return {"model": "home", "messages": [{"role": "user", "content": LIGHTS}], **given}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"[]", 400),
        (b"null", 400),
        (b"\xff\xfe", 400),
        (b"[" * 100_000, 400),
        (b'{"a":' * 100_000, 400),
        (b" " * (2**20 + 1), 413),
        (json.dumps(chat(messages="hi")).encode(), 400),
        (json.dumps(chat(messages=[1])).encode(), 400),
        (json.dumps(chat(messages=[{"role": "user"}])).encode(), 400),
        (json.dumps(chat(messages=[{"role": "root", "content": "x"}])).encode(), 400),
        (json.dumps(chat(messages=[{"role": "user", "content": "\ud800"}])).encode(), 400),
        (json.dumps(chat(messages=[{"role": "user", "content": "\0"}])).encode(), 400),
        (json.dumps(chat(messages=[{"role": "assistant", "content": "x"}])).encode(), 400),
        (json.dumps(chat(messages=[{"role": "user", "content": "x"}] * 2000)).encode(), 400),
        (json.dumps(chat(tools=[{"type": "function"}])).encode(), 400),
        (json.dumps(chat(tools=[{"type": "function", "function": {"name": "a b"}}])).encode(), 400),
        (json.dumps(chat(stream="yes")).encode(), 400),
        (json.dumps(chat(model=None)).encode(), 404),
        (json.dumps(chat(model={"a": 1})).encode(), 404),
        (json.dumps(chat(metadata=float("nan"))).encode(), 400),
    ],
)
def test_what_is_no_request_is_refused_in_a_sentence(serving: Served, body: bytes, status: int) -> None:
    headers = {"content-type": "application/json"}
    refused = httpx.post(f"{serving.url}/v1/chat/completions", content=body, headers=headers)
    assert (refused.status_code, len(refused.json()["error"]["message"]) > 10) == (status, True)
    refused = httpx.post(f"{serving.url}/api/chat", content=body, headers=headers)
    assert (refused.status_code, isinstance(refused.json()["error"], str)) == (status, True)
    assert httpx.post(f"{serving.url}/v1/chat/completions", json=chat(temperature=0)).status_code == 200


@pytest.mark.parametrize(
    "given",
    [{"temperature": 1000}, {"temperature": "hot"}, {"seed": 10**30}, {"stop": "x" * 2000}, {"top_p": 2}],
)
def test_values_that_cannot_be_are_refused_by_both(serving: Served, given: dict[str, Any]) -> None:
    for path, body in (("/v1/chat/completions", chat(**given)), ("/api/chat", chat(options=given))):
        refused = httpx.post(serving.url + path, content=json.dumps(body).encode())
        assert refused.status_code == 400
        assert next(iter(given)) in refused.text


def test_a_request_that_curl_sends_as_a_form_is_answered(serving: Served) -> None:
    headers = {"content-type": "application/x-www-form-urlencoded"}
    body = json.dumps({"model": "home", "prompt": LIGHTS, "stream": False}).encode()
    assert httpx.post(f"{serving.url}/api/generate", content=body, headers=headers).json()["done"]


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/v1/nothing", 404), ("GET", "/v1/responses", 405)])
def test_other_paths_and_methods_have_the_apis_errors(serving: Served, method: str, path: str, status: int) -> None:
    refused = httpx.request(method, serving.url + path)
    assert refused.status_code == status
    assert path in refused.json()["error"]["message"]


@pytest.mark.parametrize(
    "headers", [{"host": "evil.example"}, {"origin": "https://evil.example"}, {"origin": "null"}, {"host": ""}]
)
def test_a_web_page_elsewhere_reaches_nothing(serving: Served, headers: dict[str, str]) -> None:
    refused = httpx.post(f"{serving.url}/v1/chat/completions", json=chat(), headers=headers)
    assert refused.status_code in {400, 403}
    assert httpx.get(f"{serving.url}/", headers={"origin": "http://localhost:3000"}).text == "Ollama is running"


def test_a_client_that_leaves_before_its_answer_ends_it(serving: Served) -> None:
    endless = {"temperature": 100, "seed": 3, "num_predict": 900}  # nonsense that comes to no end
    body = json.dumps(chat(options=endless, stream=False)).encode()
    port = int(serving.url.rpartition(":")[2])
    with closing(socket.create_connection(("127.0.0.1", port))) as client:
        head = f"POST /api/chat HTTP/1.1\r\nhost: localhost\r\ncontent-length: {len(body)}\r\n\r\n"
        before = serving.house.stats.get("cancelled", 0)
        client.sendall(head.encode() + body)
        time.sleep(0.5)
    wait_until(lambda: serving.house.stats.get("cancelled", 0) == before + 1)


def test_a_connection_that_brings_no_request_is_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(http_server, "_IDLE_S", 0.5)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    with closing(http_server.HttpServer(app, "127.0.0.1", 0, "the port")) as quick:
        quick.start()
        for pieces in ((), (b"GET", b" / ", b"HT", b"TP", b"/1", b".1"), (b"GET / HTTP/1.1\r\nhost: a\r\n\r\n",)):
            with closing(socket.create_connection(("127.0.0.1", quick.port), timeout=10)) as client:
                for piece in pieces:
                    client.sendall(piece)
                    time.sleep(0.05)
                told = b""
                while more := client.recv(4096):
                    told += more
                assert (b"204" in told) == (len(pieces) == 1)


def test_a_key_is_needed_where_there_is_one(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("sesame\n")
    file.chmod(0o600)
    with served(tmp_path, "--http-key-file", str(file)) as running:
        keys: list[bytes | None] = [None, b"Bearer wrong", b"sesame", "Bearer s\u00e9same".encode()]
        for key in keys:
            headers = {} if key is None else {b"authorization": key}
            refused = httpx.get(f"{running.url}/v1/models", headers=headers)
            assert (refused.status_code, refused.json()["error"]["code"]) == (401, "invalid_api_key")
        good = {"authorization": "bearer sesame", "host": "hub.lan"}
        assert httpx.get(f"{running.url}/v1/models", headers=good).json()["data"][0]["id"] == "home"


def test_other_machines_need_a_key(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="http_key_file"):
        HttpSettings(8011, "0.0.0.0").key()
    assert HttpSettings(8011).key() is None
    loose = tmp_path / "key"
    loose.write_text("sesame")
    loose.chmod(0o644)
    with pytest.raises(SettingsError, match="chmod 600"):
        HttpSettings(8011, key_file=loose).key()
