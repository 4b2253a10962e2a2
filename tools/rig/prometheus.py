"""The real Prometheus, Debian's, on a free loopback port: it scrapes what its configuration names, and is asked."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from tools.rig.broker import free_port
from tools.rig.process import started

_UNPACKED = Path(__file__).resolve().parents[2] / ".prometheus" / "usr" / "bin"
_START_S = 20.0


def prometheus_program(name: str) -> str | None:
    """The path of `prometheus` or `promtool`: an installed one, or what `make prometheus` has unpacked; None without either."""
    return shutil.which(name) or shutil.which(name, path=str(_UNPACKED))


class Prometheus:
    """One that runs."""

    def __init__(self, port: int) -> None:
        self._base = f"http://127.0.0.1:{port}"

    def ask(self, path: str, **parameters: str) -> Any:
        """What its HTTP API says. Raises OSError, of which HTTPError is one."""
        with urllib.request.urlopen(f"{self._base}/api/v1/{path}?{urlencode(parameters)}", timeout=10) as answer:  # noqa: S310
            return json.load(answer)["data"]

    def values(self, query: str) -> dict[str, float]:
        """The values of an expression by the job that they are of, "" for those of none."""
        found = self.ask("query", query=query)["result"]
        return {each["metric"].get("job", ""): float(each["value"][1]) for each in found}


@contextmanager
def running_prometheus(config: Path, folder: Path) -> Iterator[Prometheus]:
    """Run it with that configuration and its data in `folder` until the context ends. Raises RuntimeError when it does not start."""
    program, port, log = prometheus_program("prometheus"), free_port(), folder / "prometheus.log"
    if program is None:
        raise RuntimeError("prometheus is not here; run: make prometheus")
    where = [f"--web.listen-address=127.0.0.1:{port}", f"--storage.tsdb.path={folder / 'data'}"]
    with started([program, f"--config.file={config}", *where], log) as process:
        prometheus = Prometheus(port)
        _await(process, prometheus, log)
        yield prometheus


def _await(process: subprocess.Popen[bytes], prometheus: Prometheus, log: Path) -> None:
    deadline = time.monotonic() + _START_S
    while True:
        try:
            prometheus.ask("status/buildinfo")
            return
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"prometheus did not start: {log.read_text()[-2000:]}") from None
        time.sleep(0.02)
