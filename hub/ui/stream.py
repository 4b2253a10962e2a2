"""An answer over HTTP that goes on: it ends when its browser has left, or takes nothing for a while."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

from starlette.responses import StreamingResponse
from starlette.types import Message, Receive, Scope, Send

_STUCK_S = 10.0  # seconds in which a browser has to take a piece
_HEADERS = {"cache-control": "no-store", "x-accel-buffering": "no"}


class Stream(StreamingResponse):
    """Its generator is closed in every case."""

    def __init__(self, content: AsyncGenerator[bytes, None], media_type: str) -> None:
        super().__init__(content, media_type=media_type, headers=_HEADERS)
        self._content = content

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it; a browser that takes nothing is left."""

        async def bounded(message: Message) -> None:
            await asyncio.wait_for(send(message), _STUCK_S)

        async with aclosing(self._content):
            try:
                await super().__call__(scope, receive, bounded)
            except (TimeoutError, asyncio.TimeoutError):
                return
