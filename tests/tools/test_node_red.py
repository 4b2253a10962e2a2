"""The example flow for Node-RED, as far as it can be checked without Node-RED; `python -m tools.try_node_red` runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from shared.topics import Topics
from tools.try_node_red import FLOW

NODES: list[dict[str, Any]] = json.loads(FLOW.read_text(encoding="utf-8"))
TOPICS = Topics()


def of(kind: str) -> list[dict[str, Any]]:
    return [each for each in NODES if each["type"] == kind]


def env() -> dict[str, str]:
    (tab,) = of("tab")
    given = {each["name"]: str(each["value"]) for each in tab["env"]}
    return {name: value.replace("${NODE}", given["NODE"]) for name, value in given.items()}


def test_every_id_and_name_is_there_once_and_whatever_is_named_exists() -> None:
    ids = [each["id"] for each in NODES]
    names = [each["name"] for each in NODES if each.get("name")]
    assert len(set(ids)) == len(ids)
    assert len(set(names)) == len(names)
    for each in NODES:
        named = [each[key] for key in ("z", "g", "broker", "tls") if each.get(key) and each["type"] != "mqtt-broker"]
        named += [target for output in each.get("wires", []) for target in output] + each.get("nodes", [])
        assert set(named) <= set(ids), each["name"]
        if "outputs" in each:
            assert len(each["wires"]) == each["outputs"], each["name"]


@pytest.mark.parametrize(
    ("kind", "topics"),
    [
        ("mqtt out", [TOPICS.node("pi", "ask"), TOPICS.node("pi", "cancel")]),
        (
            "mqtt in",
            [
                TOPICS.node("pi", "answer"),
                TOPICS.stream(TOPICS.node("pi", "answer")),
                TOPICS.node("pi", "call"),
                TOPICS.node("pi", "status"),
            ],
        ),
    ],
)
def test_its_topics_are_those_of_a_node(kind: str, topics: list[str]) -> None:
    used = [env()[each["topic"].removeprefix("${").removesuffix("}")] for each in of(kind)]
    assert sorted(used) == sorted(topics)
    assert {each["qos"] for each in of(kind)} == {"1"}


def test_it_holds_no_secret_and_speaks_mqtt_5_with_tls() -> None:
    (broker,) = of("mqtt-broker")
    (tls,) = of("tls-config")
    assert (broker["protocolVersion"], broker["usetls"], broker["tls"]) == ("5", True, tls["id"])
    assert tls["verifyservercert"] is True
    assert not any("credentials" in each for each in NODES)


@pytest.mark.parametrize(
    ("version", "sentence"),
    [
        ("", "tools.try_node_red: node is not installed; Node-RED needs Node.js 18.5 or later with npm"),
        ("v16.20.2", "tools.try_node_red: Node-RED 4.1.15 needs Node.js 18.5 or later; here is 'v16.20.2'"),
    ],
)
def test_without_a_node_js_that_will_do_a_sentence_says_so(tmp_path: Path, version: str, sentence: str) -> None:
    for program in ("node", "npm") if version else ():
        (tmp_path / program).write_text(f"#!/bin/sh\necho {version}\n")
        (tmp_path / program).chmod(0o755)
    done = subprocess.run(
        [sys.executable, "-m", "tools.try_node_red"],
        env={**os.environ, "PATH": str(tmp_path)},
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert done.stderr.startswith(sentence)
    assert len(done.stderr.splitlines()) == 1
