"""From the bundle to the answer over TLS, by the commands that a user types; no secret comes to light on the way."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from shared.bundle import read_bundle
from shared.mqtt import MqttLink
from tools.access.trial import Trial, trial_broker
from tools.rig.process import started

ROOT = Path(__file__).parents[2]


def command(program: str, *words: str) -> list[str]:
    return [sys.executable, "-m", {"hub": "hub.cli", "node": "edge_node.cli"}[program], *words]


def seen_in_processes() -> str:
    """What everybody on the machine can read of processes, and what their own user can read of their environment."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        for name in ("cmdline", "environ"):
            try:
                found.append((process / name).read_text(errors="replace"))
            except OSError:
                continue
    return "\n".join(found)


def retained_and_passing(trial: Trial, during: Callable[[], None]) -> list[bytes]:
    """Every message on the broker, those that it keeps included, while `during` runs."""
    heard: list[bytes] = []
    link = MqttLink(trial.overseer, "overseer")
    link.connect()
    link.subscribe("#", lambda topic, payload: heard.extend([topic.encode(), payload]))
    during()
    link.flush()
    link.close()
    return heard


@pytest.mark.slow
def test_no_secret_in_logs_processes_messages_or_errors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.chdir(tmp_path)
    printed: list[str] = []

    def run(*words: str) -> None:
        done = subprocess.run(words, capture_output=True, text=True, timeout=90, check=False)
        printed.append(done.stdout + done.stderr)
        assert done.returncode == 0, done.stderr

    with trial_broker(tmp_path) as trial:
        folder = ["--folder", str(tmp_path / "broker"), "--pid-file", str(tmp_path / "mosquitto.pid")]
        run(*command("hub", "rotate", "den", *folder))
        run(*command("hub", "rotate", "pico", *folder))
        trial.reload()
        run(*command("hub", "join", "den.bundle"))
        run(*command("node", "join", "pico.bundle"))
        with started(command("hub", "serve", "--verbose"), tmp_path / "hub.log") as hub:

            def ask() -> None:
                run(*command("node", "ask", "--verbose", "--wait", "60", "turn off all the fans"))
                printed.append(seen_in_processes())
                assert hub.poll() is None, (tmp_path / "hub.log").read_text()

            messages = retained_and_passing(trial, ask)
    assert any("HassTurnOff" in text for text in printed)
    assert b'{"online": true}' in messages
    secrets = [read_bundle(Path("den.bundle")).password, *read_bundle(Path("pico.bundle")).key.splitlines()[1:-1]]
    assert len(secrets) > 2
    logs = [path.read_text(errors="replace") for path in tmp_path.glob("*.log")]
    for text in (*printed, *logs, *(message.decode(errors="replace") for message in messages)):
        assert not [secret for secret in secrets if secret in text]
