"""`sled-node profile`: beside a real broker, without one, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edge_node.cli import app
from shared.device_profile import read_profile
from tests.odd_inputs.case import Case, check, rows, run
from tools.rig.broker import private_broker


@pytest.mark.slow
def test_it_measures_prints_and_writes(tmp_path: Path) -> None:
    out = tmp_path / "pi.json"
    with private_broker(tmp_path, hubs=[], nodes=["pi"]) as broker:
        options = [f"--broker-port={broker.port}", f"--broker-password-file={broker.password_file('pi')}"]
        said = run(app, ["profile", "--out", str(out), "--name=pi", "--broker-host=127.0.0.1", *options])
    assert (said.status, said.err) == (0, "")
    assert "weights of 4 bits" in said.out
    assert f"written to {out}; name it to the hub with: sled-hub pair plan --device pi.json" in said.out
    profile = read_profile(str(out))
    assert (profile.name, set(profile.weights_per_s)) == ("pi", {2, 4, 8})
    assert profile.link > 1e5
    assert profile.link != 1e6  # which is taken where there is no broker
    assert profile.memory > 2**20
    assert profile.disk > 0


@pytest.mark.slow
def test_without_a_broker_it_says_what_it_takes(tmp_path: Path) -> None:
    out = tmp_path / "pi.json"
    said = run(app, ["profile", "--broker-host=127.0.0.1", "--broker-port=1", "--name=pi", "--json", f"--out={out}"])
    assert said.status == 0
    told = "the link was not measured, 1 MB/s is taken for it; give the rate with --link, or mend this: no MQTT broker"
    assert told in said.err
    assert json.loads(said.out) == json.loads(out.read_text())
    assert read_profile(str(out)).link == 1e6


@pytest.mark.slow
def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    said = run(app, ["profile", "--link=2.5", "--name=pi", "--json", f"--out={tmp_path}/none/pi.json"])
    assert said.status == 1
    assert f"cannot write {tmp_path}/none/pi.json: No such file or directory; name another file with --out" in said.err
    assert said.out == ""


@rows(
    Case("no link", "--link must be a number of MB/s above 0 and up to 1e+06, not 0", ("--link=0",)),
    Case("a link of no number", "--link must be a number of MB/s above 0 and up to 1e+06, not nan", ("--link=nan",)),
    Case("an endless link", "--link must be a number of MB/s", ("--link=inf",)),
    Case("a link in words", "Invalid value for '--link'", ("--link=fast",), status=2),
    Case("a name that no file may hold", "is no name for a device profile; give it another with --name", ("--name=_pi", "--link=1")),
)  # fmt: skip
def test_what_it_refuses(case: Case, tmp_path: Path) -> None:
    check(case, app, tmp_path, "profile")
