"""The routes of the page, and who may use them."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hub.ui.asking import Asking, TooManyRequests
from hub.ui.door import Door, TooManyTries
from hub.ui.feed import Feed
from hub.ui.files import files
from hub.ui.stream import Stream
from shared.settings import LOOPBACK
from shared.topics import is_name

log = logging.getLogger(__name__)

MOST_BROWSERS = 24  # that are told the fleet at once
_LOOK_S = 0.2  # between two looks at whether there is an event
_MOST_BODY = 65_536  # bytes of a request
_BODY_S = 10.0  # seconds in which it has to come
_LONGEST_TEXT, _LONGEST_CHAT = 8_000, 64  # characters
_COOKIE = "sled-ui"
_COOKIE_S = 12 * 3600
_HEADERS = {
    "content-security-policy": "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}


class Page:
    """An ASGI application, all of which runs on the server's thread. Without `asking` nobody can ask."""

    def __init__(self, feed: Feed, door: Door, asking: Asking | None) -> None:
        self._feed, self._door, self._asking = feed, door, asking
        self._files = files()
        self.browsers = 0  # that are told the fleet
        post = ["POST"]
        self._app: ASGIApp = Starlette(
            routes=[
                Route("/events", self._events),
                Route("/session", self._session),
                Route("/login", self._log_in, methods=post),
                Route("/logout", self._log_out, methods=post),
                Route("/ask", self._ask, methods=post),
                Route("/{name:path}", self._file),
            ],
            middleware=[Middleware(_Guarded, any_host=door.is_there)],
            exception_handlers={HTTPException: _told, ClientDisconnect: _left, Exception: _failed},
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        await self._app(scope, receive, send)

    async def _file(self, request: Request) -> Response:
        file = self._files.get(request.path_params["name"])
        if file is None:
            raise HTTPException(404, "there is nothing here")
        content, media_type = file
        return Response(content, media_type=media_type, headers={"cache-control": "no-cache"})

    async def _events(self, _: Request) -> Response:
        if self.browsers >= MOST_BROWSERS:
            raise HTTPException(503, f"{MOST_BROWSERS} browsers are shown the fleet already; close one")
        return Stream(self._told_fleet(), "text/event-stream")

    async def _told_fleet(self) -> AsyncGenerator[bytes, None]:
        if self.browsers >= MOST_BROWSERS:
            return  # others were faster
        self.browsers += 1
        try:
            yield self._feed.beginning()
            told = 0
            while not self._feed.is_over:
                number, event = self._feed.latest
                if number != told:
                    told = number
                    yield event
                await asyncio.sleep(_LOOK_S)
        finally:
            self.browsers -= 1

    async def _session(self, request: Request) -> Response:
        return _fresh({"can_ask": self._asking is not None, "is_in": self._is_in(request)})

    async def _log_in(self, request: Request) -> Response:
        body = await _body(request)
        if not self._door.is_there:
            raise HTTPException(403, "nobody can ask here: the setting ui_password_file names no password")
        try:
            cookie = self._door.log_in(_text_in(body, "password", _MOST_BODY), _address(request))
        except TooManyTries:
            raise HTTPException(429, "too many wrong passwords; try again in a minute") from None
        if cookie is None:
            raise HTTPException(401, "the password is wrong")
        response = _fresh({"can_ask": True, "is_in": True})
        response.set_cookie(_COOKIE, cookie, max_age=_COOKIE_S, httponly=True, samesite="strict")
        return response

    async def _log_out(self, request: Request) -> Response:
        self._door.log_out(request.cookies.get(_COOKIE, ""))
        response = _fresh({"can_ask": self._asking is not None, "is_in": False})
        response.delete_cookie(_COOKIE, httponly=True, samesite="strict")
        return response

    async def _ask(self, request: Request) -> Response:
        if self._asking is None or not self._is_in(request):
            raise HTTPException(401, "log in first")
        body = await _body(request)
        node, text = _text_in(body, "node", 64), _text_in(body, "text", _LONGEST_TEXT)
        if not is_name(node):
            raise HTTPException(400, "node must be a node's name")
        # Nobody goes on with a chat of another login.
        own = f"{request.cookies[_COOKIE]}\0{_text_in(body, 'chat', _LONGEST_CHAT)}"
        chat = f"ui-{hashlib.sha256(own.encode()).hexdigest()[:16]}"
        answer = self._asking.ask(node, text, chat)
        try:
            first = await anext(answer)  # before the answer's head: it may be a refusal
        except TooManyRequests:
            raise HTTPException(429, "too many requests are being answered; wait for one to end") from None
        return Stream(_lines(first, answer), "application/x-ndjson")

    def _is_in(self, request: Request) -> bool:
        return self._door.is_in(request.cookies.get(_COOKIE, ""))


async def _lines(
    first: dict[str, object], answer: AsyncGenerator[dict[str, object], None]
) -> AsyncGenerator[bytes, None]:
    async with aclosing(answer):
        yield _line(first)
        async for told in answer:
            yield _line(told)


def _line(told: dict[str, object]) -> bytes:
    return json.dumps(told).encode() + b"\n"


class _Guarded:
    """Puts the headers on every answer, and lets no other site's page in: neither by a form nor by a name that leads here."""

    def __init__(self, app: ASGIApp, *, any_host: bool) -> None:
        """With `any_host` browsers may know this machine by any name, as behind a proxy."""
        self._app, self._any_host = app, any_host

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = [(name.encode(), value.encode()) for name, value in _HEADERS.items()]
                message = {**message, "headers": [*message.get("headers", ()), *own]}
            await send(message)

        request = Request(scope)
        if why := self._refusal(request):
            await JSONResponse({"error": why}, 403)(scope, receive, send_with_headers)
        else:
            await self._app(scope, receive, send_with_headers)

    def _refusal(self, request: Request) -> str:
        host = request.headers.get("host", "")
        if not self._any_host and _host_in(f"//{host}") not in LOOPBACK:
            return "without a password the page is for this machine alone: open it at 127.0.0.1 or localhost"
        if request.method not in ("GET", "HEAD"):
            origin = urlsplit(request.headers.get("origin", ""))
            is_json = request.headers.get("content-type", "").partition(";")[0] == "application/json"
            if origin.scheme not in ("http", "https") or origin.netloc != host or not is_json:
                return "only the page itself may ask for that"
            if request.headers.get("sec-fetch-site", "same-origin") != "same-origin":
                return "only the page itself may ask for that"
        return ""


def _host_in(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _address(request: Request) -> str:
    return request.client.host if request.client else ""


def _fresh(content: Mapping[str, object]) -> JSONResponse:
    return JSONResponse(content, headers={"cache-control": "no-store"})


async def _body(request: Request) -> dict[str, Any]:
    """The JSON object in a request. Raises HTTPException."""
    try:
        read = await asyncio.wait_for(_bounded_body(request), _BODY_S)
        body = json.loads(read)
    except (TimeoutError, asyncio.TimeoutError):
        raise HTTPException(408, f"the request was not there within {_BODY_S:.0f} s") from None
    except (ValueError, RecursionError):
        raise HTTPException(400, "a request must be JSON") from None
    if not isinstance(body, dict):
        raise HTTPException(400, "a request must be a JSON object")
    return body


async def _bounded_body(request: Request) -> bytes:
    read = b""
    async for chunk in request.stream():
        read += chunk
        if len(read) > _MOST_BODY:
            raise HTTPException(413, f"a request has at most {_MOST_BODY} bytes")
    return read


def _text_in(body: Mapping[str, Any], key: str, longest: int) -> str:
    value = body.get(key)
    if not isinstance(value, str) or not 0 < len(value) <= longest or "\0" in value:
        raise HTTPException(400, f"{key} must be text of 1 to {longest} characters")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise HTTPException(400, f"{key} must be UTF-8 text") from None
    return value


async def _told(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": error.detail}, error.status_code, headers={"cache-control": "no-store"})


async def _left(_: Request, __: Exception) -> Response:
    return Response(status_code=400)


async def _failed(_: Request, error: Exception) -> Response:
    log.error("a request failed", exc_info=error)
    return JSONResponse({"error": "this is a mistake in the program; report it with the log"}, 500)
