"""The routes, who may use them, and how errors are told, each API's in its own shape."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from datetime import datetime, timezone
from typing import Any, ClassVar, Protocol
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from edge_node.gateway import ollama, openai_chat, openai_responses
from edge_node.gateway.answering import Answering, Finished
from edge_node.gateway.openai_chat import ChatCompletion, error_body
from edge_node.gateway.openai_responses import Response as OpenAIResponse
from edge_node.gateway.wanted import Unanswerable, Wanted
from shared.settings import LOOPBACK

_MOST_BODY = 2**20  # bytes of a request
_BODY_S = 30.0  # seconds in which it has to come
_NO_STORE = {"cache-control": "no-store", "x-accel-buffering": "no"}
_OLLAMA_VERSION = "0.12.0"  # of the API that is spoken here
_BY = "sled"

Answer = AsyncGenerator[str | Finished, None]


class Form(Protocol):
    """Writes an answer as one of the APIs has it."""

    media_type: ClassVar[str]
    """Of a stream."""

    def whole(self, said: str, end: Finished) -> dict[str, Any]:
        """The answer at once."""

    def stream(self, answer: Answer) -> AsyncGenerator[str, None]:
        """The answer piece by piece."""

    def broken(self, error: Unanswerable) -> str:
        """What a stream ends with that can't go on."""


def make_app(answering: Answering, version: str, key: str | None) -> ASGIApp:
    """The application. With a `key` every request must bear it; without one only this machine's own names are answered to."""
    gateway = _Gateway(answering, version)
    return Starlette(
        routes=gateway.routes,
        middleware=[Middleware(_Bearer, key=key)] if key else [Middleware(_OwnMachine)],
        exception_handlers={
            HTTPException: _unknown,
            Unanswerable: _refused,
            ClientDisconnect: _left,
            Exception: _failed,
        },
    )


class _Bearer:
    """Lets requests in that bear the key."""

    def __init__(self, app: ASGIApp, key: str) -> None:
        self._app, self._key = app, key.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scheme, _, key = dict(scope.get("headers", ())).get(b"authorization", b"").partition(b" ")
        is_known = scheme.lower() == b"bearer" and hmac.compare_digest(key.strip(), self._key)
        if scope["type"] == "http" and not is_known:
            why = "the key is missing or wrong; send it as Authorization: Bearer KEY"
            error = Unanswerable(why, status=401, code="invalid_api_key")
            await _error(scope["path"], error)(scope, receive, send)
            return
        await self._app(scope, receive, send)


class _OwnMachine:
    """Lets requests in that are for this machine, and from no web page but its own: a browser on it would ask for any page."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope.get("headers", ()))
        host, origin = headers.get(b"host", b"").decode("latin-1"), headers.get(b"origin")
        is_own = _host_in(f"//{host}") in LOOPBACK
        if origin is not None:
            is_own = is_own and _host_in(origin.decode("latin-1")) in LOOPBACK
        if scope["type"] == "http" and not is_own:
            why = "without a key only this machine's own programs are answered; name a file with one in http_key_file"
            await _error(scope["path"], Unanswerable(why, status=403))(scope, receive, send)
            return
        await self._app(scope, receive, send)


class _Gateway:
    def __init__(self, answering: Answering, version: str) -> None:
        self._answering, self._version = answering, version
        self._model = answering.pair
        self._created, self._since = int(time.time()), _now()
        post, get = ["POST"], ["GET"]
        self.routes = [
            Route("/v1/models", self._models, methods=get),
            Route("/v1/models/{model:path}", self._one_model, methods=get),
            Route("/v1/chat/completions", self._completions, methods=post),
            Route("/v1/responses", self._responses, methods=post),
            Route("/api/chat", self._ollama_chat, methods=post),
            Route("/api/generate", self._ollama_generate, methods=post),
            Route("/api/tags", self._tags, methods=get),
            Route("/api/ps", self._tags, methods=get),
            Route("/api/show", self._show, methods=post),
            Route("/api/version", self._ollama_version, methods=get),
            Route("/", self._here, methods=["GET", "HEAD"]),
        ]

    # OpenAI's

    async def _models(self, _: Request) -> Response:
        return JSONResponse({"object": "list", "data": [self._described()]})

    async def _one_model(self, request: Request) -> Response:
        self._require(request.path_params["model"])
        return JSONResponse(self._described())

    async def _completions(self, request: Request) -> Response:
        body = await _body(request)
        self._require(_text_in(body, "model"))
        wanted = openai_chat.read_chat(body, self._answering.write_call, self._answering.most_tokens)
        options = body.get("stream_options")
        with_usage = isinstance(options, dict) and options.get("include_usage") is True
        form = ChatCompletion(self._model, int(time.time()), with_usage)
        return await self._answered(request, wanted, form)

    async def _responses(self, request: Request) -> Response:
        body = await _body(request)
        self._require(_text_in(body, "model"))
        wanted = openai_responses.read_response(body, self._answering.write_call, self._answering.most_tokens)
        form = OpenAIResponse(self._model, int(time.time()), body)
        return await self._answered(request, wanted, form)

    # Ollama's

    async def _ollama_chat(self, request: Request) -> Response:
        body = await _body(request)
        self._require(_text_in(body, "model"))
        form = ollama.OllamaAnswer(self._tag, _now(), is_chat=True)
        if ollama.is_only_loading(body, "messages"):
            return JSONResponse(form.loaded())
        wanted = ollama.read_chat(body, self._answering.write_call, self._answering.most_tokens)
        return await self._answered(request, wanted, form)

    async def _ollama_generate(self, request: Request) -> Response:
        body = await _body(request)
        self._require(_text_in(body, "model"))
        form = ollama.OllamaAnswer(self._tag, _now(), is_chat=False)
        if ollama.is_only_loading(body, "prompt"):
            return JSONResponse(form.loaded())
        return await self._answered(request, ollama.read_generate(body, self._answering.most_tokens), form)

    async def _tags(self, _: Request) -> Response:
        return JSONResponse({"models": [self._tagged()]})

    async def _show(self, request: Request) -> Response:
        body = await _body(request)
        self._require(_text_in(body, "model") or _text_in(body, "name"))
        details = self._tagged()["details"]
        shown = {"modelfile": "", "parameters": "", "template": "", "details": details, "model_info": {}}
        return JSONResponse({**shown, "capabilities": ["completion", "tools"], "modified_at": _now()})

    async def _ollama_version(self, _: Request) -> Response:
        return JSONResponse({"version": _OLLAMA_VERSION, "sled": self._version})

    async def _here(self, _: Request) -> Response:
        return PlainTextResponse("Ollama is running")  # what its clients look for

    # Both

    @property
    def _tag(self) -> str:
        return f"{self._model}:latest"

    def _described(self) -> dict[str, Any]:
        return {"id": self._model, "object": "model", "created": self._created, "owned_by": _BY}

    def _tagged(self) -> dict[str, Any]:
        details = {
            "parent_model": "",
            "format": _BY,
            "family": _BY,
            "families": [_BY],
            "parameter_size": "",
            "quantization_level": "",
        }
        digest = hashlib.sha256(self._tag.encode()).hexdigest()
        head = {"name": self._tag, "model": self._tag, "modified_at": self._since, "size": 0, "digest": digest}
        return {**head, "details": details}

    def _require(self, model: str | None) -> None:
        """Raise Unanswerable for another model than is served here."""
        if model not in {self._model, self._tag}:
            why = f"there is no model {model!r:.80} here; there is {self._model!r}"
            raise Unanswerable(why, status=404, field="model", code="model_not_found")

    async def _answered(self, request: Request, wanted: Wanted, form: Form) -> Response:
        if wanted.streams:
            return await self._stream(request, wanted, form)
        said, end = await self._whole(request, wanted)
        return JSONResponse(form.whole(said, end), headers=_NO_STORE)

    async def _whole(self, request: Request, wanted: Wanted) -> tuple[str, Finished]:
        said = ""
        async with aclosing(self._answering.answer(wanted, request.is_disconnected)) as answer:
            async for piece in answer:
                if isinstance(piece, Finished):
                    return said, piece
                said += piece
        raise ClientDisconnect

    async def _stream(self, request: Request, wanted: Wanted, form: Form) -> Response:
        """The answer as a stream. What goes wrong before its first piece is an error of HTTP."""
        answer = self._answering.answer(wanted, request.is_disconnected)
        try:
            first = await anext(answer)
        except StopAsyncIteration:
            raise ClientDisconnect from None

        async def all_of_it() -> Answer:
            async with aclosing(answer):
                yield first
                async for piece in answer:
                    yield piece

        async def written() -> AsyncGenerator[str, None]:
            async with aclosing(all_of_it()) as pieces, aclosing(form.stream(pieces)) as texts:
                try:
                    async for text in texts:
                        yield text
                except Unanswerable as error:
                    yield form.broken(error)

        return StreamingResponse(written(), media_type=form.media_type, headers=_NO_STORE)


async def _all_of(request: Request) -> bytes:
    """The bytes of a request. Raises Unanswerable for more than it may have."""
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > _MOST_BODY:
            raise Unanswerable(f"a request has at most {_MOST_BODY} bytes", status=413)
    return bytes(body)


async def _body(request: Request) -> dict[str, Any]:
    """The JSON object that a request brings. Raises Unanswerable."""
    try:
        body = await asyncio.wait_for(_all_of(request), _BODY_S)
    except asyncio.TimeoutError:
        raise Unanswerable(f"the request has not come within {_BODY_S:g} s", status=408) from None
    try:
        read = json.loads(body)
        json.dumps(read, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError) as error:
        why = f": {error.msg} (character {error.pos + 1})" if isinstance(error, json.JSONDecodeError) else ""
        raise Unanswerable(f"the request is no JSON{why}") from None
    if not isinstance(read, dict):
        raise Unanswerable("the request must be a JSON object")
    return read


def _host_in(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None


def _text_in(body: Mapping[str, Any], key: str) -> str | None:
    value = body.get(key)
    return value if isinstance(value, str) else None


def _now() -> str:
    return datetime.now(timezone.utc).isoformat()


def _error(path: str, error: Unanswerable) -> Response:
    """An error in the shape of the API that the path belongs to."""
    headers = {"www-authenticate": "Bearer"} if error.status == 401 else {}
    if error.status == 429:
        headers["retry-after"] = "1"
    content = {"error": str(error)} if path.startswith("/api/") else error_body(error)
    return JSONResponse(content, error.status, headers)


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Unanswerable)
    return _error(request.url.path, error)


async def _unknown(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    why = f"there is no {request.method} {request.url.path} here" if error.status_code in {404, 405} else error.detail
    return _error(request.url.path, Unanswerable(why, status=error.status_code))


async def _left(_: Request, __: Exception) -> Response:
    return Response(status_code=499)  # nobody reads it


async def _failed(request: Request, error: Exception) -> Response:
    why = f"this is a mistake in the program; report it with the log ({type(error).__name__})"
    return _error(request.url.path, Unanswerable(why, status=500))
