"""What only a process shows: streams that are closed, full or gone, users without a home, and signals at any time."""

from __future__ import annotations

import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.odd_inputs.case import Said, judge
from tests.processes import start_as_in_a_terminal

pytestmark = pytest.mark.slow  # each is a process

_BROKER = "--broker-host 127.0.0.1 --broker-port 1"
_ASK = f"-m edge_node.cli ask {_BROKER}"
_NOBODY = """
import os, pwd, sys
for name in ("HOME", "USER", "LOGNAME", "XDG_CACHE_HOME"):
    os.environ.pop(name, None)
def unknown(uid):
    raise KeyError(f"getpwuid(): uid not found: {uid}")
pwd.getpwuid = unknown
sys.argv = sys.argv[1:]
from importlib import import_module
import_module(sys.argv[0]).app()
"""


def _shell(line: str) -> Said:
    done = subprocess.run(
        ["bash", "-c", line.replace("@", shlex.quote(sys.executable))], capture_output=True, timeout=120, check=False
    )  # fmt: skip
    return Said(done.returncode, done.stdout.decode(), done.stderr.decode())


@pytest.mark.parametrize(
    ("line", "status", "says"),
    [
        ("@ -m edge_node.cli --help > /dev/full", 1, "No space left on device"),
        ("@ -m edge_node.cli ask --help >&-", 1, "Bad file descriptor"),
        ("@ -m hub.cli serve --help > /dev/full", 1, "No space left on device"),
        (f"@ -m edge_node.cli doctor {_BROKER} --wait 0 > /dev/full", 1, "standard output can't be written: No space"),
        (f"@ -m edge_node.cli chat {_BROKER} >&-", 1, "Bad file descriptor"),
        (f"@ {_ASK} - <&-", 1, "the request is empty"),
        (f"@ {_ASK} - < /dev/zero", 1, "standard input is longer than 1048576 bytes"),
        (f"yes | @ {_ASK} -", 1, "standard input is longer than 1048576 bytes"),
        (f"@ {_ASK} x 2>&-", 1, ""),
        (f"@ {_ASK} x 2> /dev/full", 1, ""),
        (f"@ {_ASK} x <&- >&- 2>&-", 1, ""),
        (f"PYTHONIOENCODING=ascii @ {_ASK} --name küche x", 1, "the node name 'k\\xfcche' must be"),
        (f"LC_ALL=C PYTHONUTF8=0 PYTHONCOERCECLOCALE=0 @ {_ASK} $'k\\xfcche'", 1, "the request is not UTF-8 text"),
        (f"@ {_ASK} --system $'k\\xfcche' x", 1, "the system message is not UTF-8 text"),
        (f"@ {_ASK} --config <(echo x=1) x", 1, "is not a regular file"),
        (f"@ -m edge_node ask {_BROKER} x", 1, "sled-node: no MQTT broker answers"),
        ("@ -m hub serve --device mps", 1, "sled-hub: there is no device 'mps'"),
        (f"COLUMNS=² LINES=x TERM=nonsense @ -m edge_node.cli chat {_BROKER}", 1, "no MQTT broker answers"),
    ],
)  # fmt: skip
def test_a_stream_or_terminal(line: str, status: int, says: str) -> None:
    judge(_shell(line), status, says)


def test_what_reads_the_help_may_leave() -> None:
    said = _shell("set -o pipefail; @ -m edge_node.cli ask --help | false")
    judge(said, 1, "")
    assert said.err == ""


@pytest.mark.parametrize("program", ["edge_node.cli ask x", "hub.cli serve --threads 1 --kv-memory 8M"])
def test_a_user_without_a_home_or_a_name(program: str) -> None:
    judge(_shell(f"@ -c {shlex.quote(_NOBODY)} {program} {_BROKER}"), 1, "no MQTT broker answers at 127.0.0.1:1")


def _catches_sigint(pid: int) -> bool:
    caught = re.search(r"^SigCgt:\s*(\w+)", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return caught is not None and bool(int(caught[1], 16) & 1 << (signal.SIGINT - 1))


def _wait(process: subprocess.Popen[bytes], *, catches: bool) -> None:
    """Until the interpreter has its own handler of SIGINT, or the program has laid it down: what comes before is not ours."""
    deadline = time.monotonic() + 60
    while _catches_sigint(process.pid) is not catches:
        assert time.monotonic() < deadline
        assert process.poll() is None


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
    ("module", "args"),
    [
        ("edge_node.cli", ["ask", "--broker-host=192.0.2.1", "x"]),
        ("edge_node", ["chat", "--broker-host=192.0.2.1"]),
        ("hub.cli", ["serve", "--broker-port=1"]),
        ("hub", ["serve", "--broker-port=1"]),
        ("hub", ["enroll", "pi"]),
        ("tools.bench", ["exactness"]),
    ],
)
def test_a_signal_while_it_imports_ends_a_program_at_once(number: int, module: str, args: list[str]) -> None:
    process = start_as_in_a_terminal(
        [sys.executable, "-m", module, *args], stderr=subprocess.PIPE, stdout=subprocess.PIPE
    )
    _wait(process, catches=True)
    _wait(process, catches=False)
    process.send_signal(number)
    out, err = process.communicate(timeout=20)
    assert process.returncode == -number
    assert b"Traceback" not in out + err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_a_hub_imports_torch_ends_it_at_once(number: int, serving: tuple[str, ...]) -> None:
    command = [sys.executable, "-m", "hub.cli", *serving]
    process = start_as_in_a_terminal(command, stderr=subprocess.PIPE)
    assert process.stderr is not None
    assert process.stderr.readline() == b"importing torch and transformers\n"
    time.sleep(0.3)  # into the imports
    process.send_signal(number)
    _, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (-number, b"")


def test_ctrl_c_while_a_node_waits_for_its_broker() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        options = [f"--broker-port={silent.getsockname()[1]}", "--broker-host=127.0.0.1"]
        command = [sys.executable, "-m", "edge_node.cli", "ask", *options, "x"]
        process = start_as_in_a_terminal(command, stderr=subprocess.PIPE)
        connection, _ = silent.accept()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=20)
        connection.close()
    assert (process.returncode, err) == (130, b"")
