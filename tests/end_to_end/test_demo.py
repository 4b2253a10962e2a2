"""The demo leaves nothing behind, whatever ends it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from tests.processes import start_as_in_a_terminal

pytestmark = pytest.mark.slow  # each starts a broker and a hub

COMMAND = [sys.executable, "-m", "tools.demo"]


def leftovers() -> set[str]:
    """Processes and files of any demo."""
    found = {str(path) for path in Path(tempfile.gettempdir()).glob("sled-demo-*")}
    for cmdline in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            text = cmdline.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if "tools.demo" in text or "demo-hub" in text or "demo-node" in text or "sled-demo-" in text:
            found.add(text)
    return found


@pytest.fixture(autouse=True)
def _clean() -> None:
    """A hub of another test that is just ending is waited for."""
    deadline = time.monotonic() + 20
    while leftovers() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert leftovers() == set()


def test_one_request_is_answered() -> None:
    said = "turn on the kitchen lights and set the bedroom to 20 degrees"
    done = subprocess.run(
        COMMAND, env={**os.environ, "SAY": said}, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == '{"name":"HassTurnOn","arguments":{"area":"kitchen","domain":"light"}}'
    assert lines[1] == '{"name":"HassClimateSetTemperature","arguments":{"area":"bedroom","temperature":20}}'
    assert leftovers() == set()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
@pytest.mark.parametrize("after_s", [0.3, 7.0])
def test_a_signal_leaves_nothing_behind(number: signal.Signals, after_s: float) -> None:
    demo = start_as_in_a_terminal(COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    time.sleep(after_s)
    if number is signal.SIGINT:
        os.killpg(demo.pid, number)  # as a terminal does
    else:
        demo.send_signal(number)
    demo.communicate(timeout=30)
    deadline = time.monotonic() + 15
    processes: set[str] = set()
    while time.monotonic() < deadline:
        processes = {found for found in leftovers() if not found.startswith(tempfile.gettempdir())}
        if not processes:
            break
        time.sleep(0.1)
    assert processes == set()
    for folder in Path(tempfile.gettempdir()).glob("sled-demo-*"):
        assert number is signal.SIGKILL, f"{folder} was left behind"
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()
