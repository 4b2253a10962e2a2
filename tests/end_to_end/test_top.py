"""`sled-hub top` beside a real broker, a real hub and a node that answers."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

import hub.cli
from tests.odd_inputs.case import Said, run
from tests.processes import start_as_in_a_terminal
from tests.waiting import wait_until
from tools.demo import broker_options
from tools.rig.household import Household, running_service
from tools.rig.testbed import HUB, HubBed

LONG: dict[str, Any] = {"temperature": 100.0, "seed": 3, "max_tokens": 700}  # writes nonsense that comes to no end
FIGURES = ("tokens_per_s", "forwards_per_s", "in_forwards", "sessions", "for_s", "kv_bytes", "held_bytes")
HEAVY = ("cryptography", "numpy", "onnxruntime", "tokenizers", "torch", "transformers")
LEFT, SHOWN = b"\x1b[?1049l", b"\x1b[?1049h"  # a screen of its own


def command(bed: HubBed, user: str, *options: str) -> list[str]:
    return ["top", "--name", user, *broker_options(bed.broker.settings(user)), *options]


def top(bed: HubBed, user: str, *options: str) -> Said:
    return run(hub.cli.app, command(bed, user, *options))


def of_name(seen: list[dict[str, Any]], name: str) -> dict[str, Any]:
    return next(each for each in seen if each["name"] == name)


@pytest.mark.slow
def test_the_fleet_is_told_while_a_node_answers(bed: HubBed, tmp_path: Path) -> None:
    house = Household(bed.broker.settings("house"), "house", "jetson")
    with closing(house):
        with running_service(bed.broker.settings("jetson"), "jetson", tmp_path / "log"):
            request = house.ask("tell me everything", **LONG)
            wait_until(lambda: house.told[request].stream)
            said = top(bed, "desk", "--once", "--json")
            told = json.loads(said.out)
            assert (told["doubt"], said.err) == ("", "")
            seen = of_name(told["hubs"], HUB)
            assert (seen["state"], seen["heard"], seen["target"]) == ("online", True, "home/float32")
            for figure in FIGURES:
                assert seen[figure] > 0, figure
            node = of_name(told["nodes"], "jetson")
            assert (node["state"], node["pair"], node["hub"], node["waiting"]) == ("online", "home", HUB, 0)
            assert node["at"] in ([], [HUB]), "it tells its figures once a second"

            house.send("cancel", request)
            house.answer(request)
            wait_until(lambda: house.stats.get("answers") == 1)
            tables = top(bed, "desk", "--once", "--sort", "name").out.splitlines()
            lines = {line.split()[0]: line for line in tables if line}
            assert lines["jetson"][lines["node"].index("done") :].split()[0] == "1"
            assert re.match(r"jetson +online\?? [0-9]+ (s|min) ", lines["jetson"]), "for how long it runs"
            assert re.match("[0-9]+ s", lines["jetson"][lines["node"].index("last") :]), "since its last answer"
            assert lines[HUB].split()[1] == "online"
        wait_until(lambda: house.status.get("online") is False)
    assert of_name(json.loads(top(bed, "desk", "--json").out)["nodes"], "jetson")["state"] == "offline"


def test_who_may_not_read_is_told_which_role_is_needed(bed: HubBed) -> None:
    alone = top(bed, HUB, "--once")
    assert alone.status == 0
    assert HUB in alone.out
    assert f"'{HUB}' itself is all that was heard of" in alone.err
    refused = top(bed, "desk", "--once", "--broker-prefix", "another")
    assert refused.status == 1
    assert "either there are none, or its user 'desk' may not read" in refused.err
    assert "--role observer" in refused.err


@pytest.mark.parametrize("leaves", [b"q", b"\x03"], ids=["q", "Ctrl-C"])
def test_a_terminal_is_as_it_was(bed: HubBed, leaves: bytes) -> None:
    master, slave = pty.openpty()
    fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    before = termios.tcgetattr(slave)
    environment = {key: value for key, value in os.environ.items() if key not in {"COLUMNS", "LINES", "NO_COLOR"}}
    process = start_as_in_a_terminal(
        [sys.executable, "-m", "hub.cli", *command(bed, "desk")],
        stdin=slave, stdout=slave, stderr=slave, env={**environment, "TERM": "xterm-256color"},
    )  # fmt: skip
    os.set_blocking(master, False)
    came = b""

    def has_come(text: bytes, times: int = 1) -> bool:
        nonlocal came
        with suppress(BlockingIOError):
            came += os.read(master, 65_536)
        return came.count(text) >= times

    try:
        wait_until(lambda: has_come(f"{HUB}  online".encode()), 60)
        os.write(master, b"n\x1a")  # by name; and Ctrl-Z, which stops nothing without a shell
        wait_until(lambda: has_come(SHOWN, 2), 60)
        os.write(master, leaves)
        wait_until(lambda: has_come(LEFT, 2) and process.poll() is not None, 60)
        assert process.returncode == 0
        assert came.rindex(b"\x1b[?25h") > came.rindex(b"\x1b[?25l"), "the cursor is there again"
        assert termios.tcgetattr(slave) == before
    finally:
        process.kill()
        process.wait()
        os.close(master)
        os.close(slave)


def test_it_needs_nothing_that_is_heavy() -> None:
    code = (
        "import atexit, sys; from hub.cli import app; "
        f"atexit.register(lambda: print([name for name in {HEAVY!r} if name in sys.modules])); "
        "app(['top', '--once', '--broker-host=127.0.0.1', '--broker-port=1'])"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "[]\n")
    assert done.stderr.startswith("sled-hub: no MQTT broker answers at 127.0.0.1:1")
