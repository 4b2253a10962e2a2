"""`make demo`: a private broker, a hub and a node with the built-in pair, and a chat (or one request, with SAY=…)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from types import FrameType

from shared.program import troubles_said
from shared.settings import BrokerSettings
from tools.rig.broker import private_broker
from tools.rig.process import dying_with_parent, started

HUB, NODE = "demo-hub", "demo-node"
_HUB_WAIT_S = 120


def hub_command(broker: BrokerSettings, name: str, *options: str) -> list[str]:
    """The command line of a hub on that broker."""
    return [sys.executable, "-m", "hub.cli", "serve", "--name", name, *broker_options(broker), *options]


def node_command(broker: BrokerSettings, name: str, command: str, *options: str) -> list[str]:
    """The command line of a node on that broker."""
    return [sys.executable, "-m", "edge_node.cli", command, "--name", name, *broker_options(broker), *options]


def main() -> int:
    """Run the demo; the status of the chat or the request."""
    say = os.environ.get("SAY", "")
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _end)
    with (
        tempfile.TemporaryDirectory(prefix="sled-demo-") as folder,
        private_broker(Path(folder), hubs=[HUB], nodes=[NODE]) as broker,
    ):
        log = Path(folder) / "hub.log"
        with started(hub_command(broker.settings(HUB), HUB), log) as hub:
            if say:
                node = node_command(broker.settings(NODE), NODE, "ask", "--wait", str(_HUB_WAIT_S), "--", say)
            else:
                node = node_command(broker.settings(NODE), NODE, "chat", "--wait", str(_HUB_WAIT_S))
            status = _run_to_end(node)
            if status and hub.poll() is not None:
                sys.stderr.write(f"the hub ended by itself:\n{log.read_text()}")
            return status


def _run_to_end(command: list[str]) -> int:
    """Run the node in the foreground; a Ctrl-C in the terminal is for it to act on, and reaches it by itself."""
    node = None
    while True:
        try:
            node = node or subprocess.Popen(command, preexec_fn=dying_with_parent())  # noqa: PLW1509 - one thread
            return node.wait()
        except KeyboardInterrupt:
            continue
        except SystemExit:
            if node is not None:
                node.terminate()
                node.wait()
            raise


def broker_options(broker: BrokerSettings) -> list[str]:
    """The options by which a command reaches that broker."""
    return [
        f"--broker-host={broker.host}", f"--broker-port={broker.port}", f"--broker-password-file={broker.password_file}",
    ]  # fmt: skip


def _end(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


if __name__ == "__main__":
    with troubles_said("demo", RuntimeError):
        sys.exit(main())
