"""Screenshots of Home Assistant, by a headless Chromium that its owner has logged in to."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

from tools.home_assistant.instance import Instance
from tools.rig.broker import free_port
from tools.rig.process import started

_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)
_SIZE = (1100, 1200)
_DRAWN_S = 8.0  # seconds that a page takes to be drawn, icons included
_UP_S = 30.0


def take_pictures(home: Instance, folder: Path) -> None:
    """Save what the page of the node's device shows, and its part of the overview. Raises RuntimeError without a browser."""
    device = next(
        each["id"] for each in home.ask("config/device_registry/list") if each.get("name", "").startswith("SLED node")
    )
    with _browser() as page:
        page.log_in(home)
        page.save(f"{home.url}/config/devices/device/{device}", folder / "home-assistant.png")


class _Page:
    """A tab, driven by the DevTools protocol."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket, self._number = socket, 0

    def log_in(self, home: Instance) -> None:
        """Have all pages of Home Assistant find its owner's tokens."""
        tokens = {
            **home.tokens,
            "hassUrl": home.url,
            "clientId": f"{home.url}/",
            "expires": int(1e3 * (home.tokens["expires_in"] + 4e9)),
        }
        script = f"localStorage.setItem('hassTokens', {json.dumps(json.dumps(tokens))})"
        self._do("Page.enable")
        self._do(
            "Emulation.setDeviceMetricsOverride", width=_SIZE[0], height=_SIZE[1], deviceScaleFactor=1, mobile=False
        )
        self._do("Page.addScriptToEvaluateOnNewDocument", source=script)

    def save(self, url: str, path: Path) -> None:
        """Save a picture of a page."""
        self._do("Page.navigate", url=url)
        time.sleep(_DRAWN_S)
        path.write_bytes(base64.b64decode(self._do("Page.captureScreenshot", format="png")["data"]))

    def _do(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        self._socket.send(json.dumps({"id": self._number, "method": method, "params": parameters}))
        while True:
            told = json.loads(self._socket.recv(timeout=_UP_S))
            if told.get("id") == self._number:
                result: dict[str, Any] = told.get("result", {})
                return result


@contextmanager
def _browser() -> Iterator[_Page]:
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        raise RuntimeError("screenshots need chromium; install it, or leave --pictures out")
    with tempfile.TemporaryDirectory(prefix="sled-browser-", ignore_cleanup_errors=True) as name:
        folder, port = Path(name), free_port()
        command = [program, *_FLAGS, f"--user-data-dir={folder / 'user'}", f"--remote-debugging-port={port}"]
        with started([*command, "about:blank"], folder / "log") as process:
            target = _target(port, process)
            with connect(target, max_size=None, proxy=None) as socket:
                yield _Page(socket)


def _target(port: int, process: subprocess.Popen[bytes]) -> str:
    """The address of the first tab."""
    deadline = time.monotonic() + _UP_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list", timeout=2) as response:
                tabs = [tab for tab in json.loads(response.read()) if tab.get("type") == "page"]
                if tabs:
                    return str(tabs[0]["webSocketDebuggerUrl"])
        except OSError:
            pass
        time.sleep(0.1)
    raise RuntimeError("the browser did not start")
