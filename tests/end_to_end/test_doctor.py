"""`sled-node doctor`: what it finds where all is well, and that it names what is not."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path

import pytest

import tools.rig.broker
from edge_node.cli import app
from edge_node.doctor import Finding, examine
from edge_node.settings import NodeSettings
from tests.odd_inputs.case import run
from tools.rig.broker import private_broker
from tools.rig.testbed import HubBed


def found(settings: NodeSettings) -> dict[str, Finding]:
    return {finding.topic: finding for finding in examine(settings)}


@pytest.mark.slow
def test_where_all_is_well_it_says_what_the_gate_does_and_why(bed: HubBed) -> None:
    findings = found(bed.node("pi"))
    assert [finding.problem for finding in findings.values()] == ["", "", ""]
    assert findings["broker"].figures["tcp_nodelay_here"]
    assert findings["broker"].figures["round_trip_ms"] > 0
    assert findings["draft"].figures["draft_ms"] > 0
    hub = findings["hub"].figures
    assert hub["known"]
    assert f"torch {version('torch')}" in hub["bits"]
    assert any(fact.endswith(f"exact, its bits depend on {hub['bits']}") for fact in findings["hub"].facts)
    assert hub["exact"] == ("not batch-invariant" not in hub["bits"])
    assert any(fact.startswith(f"the gate would {hub['gate']}: ") for fact in findings["hub"].facts)
    for part in ("ms drafting +", "ms waiting", "tokens =", "stream: "):
        assert part in hub["why"]


@pytest.mark.slow
def test_the_command_ends_with_json_and_tells_by_its_status(bed: HubBed) -> None:
    settings = bed.node("pi")
    options = [
        "--broker-host",
        "127.0.0.1",
        "--name",
        "pi",
        "--broker-password-file",
        str(settings.broker.password_file),
    ]
    answer = run(app, ["doctor", "--json", "--broker-port", str(settings.broker.port), *options])
    assert answer.status == 0
    figures = json.loads(answer.out.strip().splitlines()[-1])
    assert figures["problems"] == {}
    assert figures["hub"]["hub"] == "bench-hub"
    answer = run(app, ["doctor", "--json", "--broker-port", "1", "--wait", "0", *options])
    assert answer.status == 1
    problems = json.loads(answer.out.strip().splitlines()[-1])["problems"]
    assert set(problems) == {"broker", "hub"}
    assert "no MQTT broker answers at 127.0.0.1:1" in problems["broker"]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("set_tcp_nodelay true", "the broker's side lacks TCP_NODELAY"),
        ("topic readwrite sled/node/pi/echo/there", "bring the broker's ACL up to date"),
    ],
)
def test_it_names_what_the_broker_lacks(
    line: str, problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("configuration", "acl"):
        whole = getattr(tools.rig.broker, name)
        monkeypatch.setattr(tools.rig.broker, name, lambda *given, whole=whole: whole(*given).replace(line, ""))
    with private_broker(tmp_path, hubs=["hub"], nodes=["pi"]) as broker:
        findings = found(NodeSettings(name="pi", wait_s=0.0, broker=broker.settings("pi")))
    assert problem in findings["broker"].problem
    assert "no hub is online" in findings["hub"].problem
    assert findings["draft"].problem == ""
