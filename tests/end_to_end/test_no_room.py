"""A hub and a node that can write nothing, to no file: a full disk, and folders that can't be written."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tools.demo import HUB, NODE, hub_command, node_command
from tools.rig.broker import private_broker
from tools.rig.process import started

pytestmark = pytest.mark.slow  # it starts a hub

_NOWHERE = ("HOME", "XDG_CACHE_HOME", "TMPDIR")
_WITHOUT_ROOM = ("env", *(f"{name}=/proc/nothing" for name in _NOWHERE), "bash", "-c", 'ulimit -f 0; exec "$@"', "bash")


def test_a_hub_serves_and_a_node_answers_without_room(tmp_path: Path) -> None:
    with private_broker(tmp_path, hubs=[HUB], nodes=[NODE]) as broker:
        hub = hub_command(broker.settings(HUB), HUB, "--threads", "1", "--kv-memory", "64M", "--verbose")
        with started([*_WITHOUT_ROOM, *hub], tmp_path / "hub.log") as process:
            ask = node_command(broker.settings(NODE), NODE, "ask", "--wait", "60", "turn on the kitchen lights")
            said = [
                subprocess.run([*_WITHOUT_ROOM, *ask], capture_output=True, text=True, timeout=150, check=False)
                for _ in range(2)
            ]
            assert process.poll() is None
    for each in said:
        assert each.returncode == 0, each.stderr
        assert each.stdout.startswith('{"name":"HassTurnOn","arguments":{"area":"kitchen","domain":"light"}}\n')
        assert not [line for line in each.stderr.splitlines() if "waiting: " not in line and "going on" not in line]
    assert (tmp_path / "hub.log").read_bytes() == b""
