"""A Node-RED as a process on this machine, reached by its admin API as its editor reaches it."""

from __future__ import annotations

import json
import queue
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from tools.node_red.sidebar import Sidebar
from tools.rig.broker import free_port
from tools.rig.process import started

_START_S = 60.0
_HTTP_S = 30.0
_SETTINGS = """\
module.exports = {{
    uiHost: "127.0.0.1", uiPort: {port}, flowFile: "flows.json", credentialSecret: false,
    telemetry: {{ enabled: false, updateNotification: false }}, editorTheme: {{ tours: false }}
}};
"""

Nodes = list[dict[str, Any]]  # of flows, and the tabs and groups that hold them


class NodeRed:
    """One that runs. What its debug nodes have shown is kept in order, as (name of the node, value)."""

    def __init__(self, port: int, log: Path, process: subprocess.Popen[bytes], sidebar: Sidebar) -> None:
        self.shown: list[tuple[str, Any]] = []
        self._url, self._log, self._process, self._sidebar = f"http://127.0.0.1:{port}", log, process, sidebar

    def deploy(self, nodes: Nodes) -> None:
        """Put these nodes in place of all that there are, and wait until their broker is connected. Raises RuntimeError."""
        before = self._connections
        self._post("/flows", nodes)
        deadline = time.monotonic() + _START_S
        while self._connections == before:
            if self._process.poll() is not None or time.monotonic() > deadline:
                said = self._log.read_text(errors="replace")
                raise RuntimeError(f"Node-RED does not connect to the broker:\n{said[-2000:]}")
            time.sleep(0.05)

    def press(self, inject: str, payload: str | None = None) -> None:
        """Press the button of the inject node of that id; a `payload` stands in for its own. Raises RuntimeError."""
        given = [{"p": "payload", "v": payload, "vt": "str"}]
        self._post(f"/inject/{inject}", {} if payload is None else {"__user_inject_props__": given})

    def wait(self, holds: Callable[[], bool], timeout_s: float = 30.0) -> bool:
        """Take in what debug nodes show until that holds; whether it came to hold."""
        deadline = time.monotonic() + timeout_s
        while not holds():
            try:
                self.shown.append(self._sidebar.shown.get(timeout=max(0.0, deadline - time.monotonic())))
            except queue.Empty:
                return False
        return True

    @property
    def _connections(self) -> int:
        return self._log.read_text(errors="replace").count("Connected to broker")

    def _post(self, path: str, content: Any) -> None:
        _requested(f"{self._url}{path}", json.dumps(content).encode())


@contextmanager
def running_node_red(command: Sequence[str], folder: Path) -> Iterator[NodeRed]:
    """Node-RED with its files in `folder`, once it answers; it ends with the context. Raises RuntimeError where it does not start."""
    port, log = free_port(), folder / "node-red.log"
    settings = folder / "settings.js"
    settings.write_text(_SETTINGS.format(port=port))
    with started([*command, "--userDir", str(folder), "--settings", str(settings)], log) as process:
        deadline = time.monotonic() + _START_S
        while not _answers(port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"Node-RED did not start:\n{log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.1)
        with closing(Sidebar(port)) as sidebar:
            yield NodeRed(port, log, process, sidebar)


def _answers(port: int) -> bool:
    try:
        _requested(f"http://127.0.0.1:{port}/flows")
    except RuntimeError:
        return False
    return True


def _requested(url: str, content: bytes | None = None) -> None:
    """Get `url`, or post JSON to it. Raises RuntimeError."""
    head = {"Content-Type": "application/json", "Node-RED-Deployment-Type": "full"}
    request = urllib.request.Request(url, content, head)  # noqa: S310 - of this machine
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        opener.open(request, timeout=_HTTP_S).close()
    except (urllib.error.URLError, OSError) as error:
        raise RuntimeError(f"Node-RED does not take {url}: {error}") from None
