"""`sled-hub ui`: the page, served until a signal."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass

from hub.fleet.settings import FleetSettings
from hub.fleet.watching import Watch
from hub.ui.app import Page
from hub.ui.asking import Asking
from hub.ui.door import Door
from hub.ui.feed import Feed
from shared.http_server import HttpServer
from shared.streams import note


@dataclass(frozen=True)
class Serving:
    """A page that is served."""

    page: Page
    server: HttpServer
    asking: Asking | None


@contextmanager
def serving(settings: FleetSettings, port: int) -> Iterator[Serving]:
    """Serve the page at that port, 0 for any free one. Raises LinkError, and SettingsError for an address or a password that can't be used."""
    password = settings.ui.password()
    with ExitStack() as stack:
        watch = stack.enter_context(closing(Watch(settings)))
        watch.begin()
        asking = None
        if password is not None:
            asking = stack.enter_context(closing(Asking(settings)))
            asking.begin()
        feed = Feed(watch, settings)
        page = Page(feed, Door(password), asking)
        server = stack.enter_context(closing(HttpServer(page, settings.ui.host, port, "ui_port or ui_host")))
        # What goes on ends before the server does: that would wait for it, and then break it off.
        stack.callback(feed.close)
        if asking is not None:
            stack.callback(asking.end)
        feed.start()
        server.start()
        yield Serving(page, server, asking)


def serve(settings: FleetSettings) -> None:
    """Serve the page until SIGTERM or Ctrl-C. Raises as `serving` does."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with serving(settings, settings.ui.port):
        host = f"[{settings.ui.host}]" if ":" in settings.ui.host else settings.ui.host
        note(f"the fleet is shown at http://{host}:{settings.ui.port}/")
        if settings.ui.password_file is None:
            note("nobody can ask there: ui_password_file names no password")
        stop.wait()
