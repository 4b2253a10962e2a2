"""Screenshots of Home Assistant, by a headless Chromium that its owner has logged in to."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
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
_TALK = ("turn on the ceiling lights", "set the hvac to 200 degrees", "unlock the front door", "yes")
_ANSWERED_S = 3.0
_DRAWN_S = 8.0  # seconds that a page takes to be drawn, icons included
_UP_S = 30.0


def take_pictures(home: Instance, folder: Path, agent: str) -> None:
    """Save the page of the node's device, and a talk with it in Assist. Raises RuntimeError without a browser."""
    nothing = dict.fromkeys(("stt_engine", "stt_language", "tts_engine", "tts_language", "tts_voice", "wake_word_entity", "wake_word_id"))  # fmt: skip
    assistant = home.ask(
        "assist_pipeline/pipeline/create",
        name="SLED",
        language="en",
        conversation_engine=agent,
        conversation_language="en",
        **nothing,
    )
    home.ask("assist_pipeline/pipeline/set_preferred", pipeline_id=assistant["id"])
    device = next(
        each["id"] for each in home.ask("config/device_registry/list") if each.get("name", "").startswith("SLED node")
    )
    with _browser() as page:
        page.log_in(home)
        page.save(f"{home.url}/config/devices/device/{device}", folder / "home-assistant.png", (1100, 1200))
        page.save(f"{home.url}/lovelace/0?conversation=1", folder / "assist.png", (600, 620), _TALK)


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
        self._do("Page.addScriptToEvaluateOnNewDocument", source=script)

    def save(self, url: str, path: Path, size: tuple[int, int], typed: Sequence[str] = ()) -> None:
        """Save a picture of a page, after what is typed there line by line."""
        self._do("Emulation.setDeviceMetricsOverride", width=size[0], height=size[1], deviceScaleFactor=1, mobile=False)
        self._do("Page.navigate", url=url)
        time.sleep(_DRAWN_S)
        enter = {"key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 13, "text": "\r"}
        for line in typed:
            self._do("Input.insertText", text=line)
            self._do("Input.dispatchKeyEvent", type="keyDown", **enter)
            self._do("Input.dispatchKeyEvent", type="keyUp", **enter)
            time.sleep(_ANSWERED_S)
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
