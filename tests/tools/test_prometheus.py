"""The rules and the configuration in deploy/prometheus, as Prometheus' own tool sees them, and what the page tells of metrics and rules."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tools.metrics_doc import PAGE, page_with
from tools.rig.prometheus import prometheus_program

FOLDER = Path(__file__).parents[2] / "deploy" / "prometheus"


@pytest.mark.parametrize("arguments", [("check", "config", "prometheus.yml"), ("test", "rules", "sled.rules.test.yml")])
def test_promtool_finds_nothing_wrong(arguments: tuple[str, ...]) -> None:
    promtool = prometheus_program("promtool")
    if promtool is None:
        pytest.skip("promtool is not here and could not be fetched (make prometheus)")
    done = subprocess.run([promtool, *arguments], cwd=FOLDER, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_rule_is_tried_and_told_of() -> None:
    alerts = set(re.findall(r"- alert: (\w+)", (FOLDER / "sled.rules.yml").read_text()))
    assert set(re.findall(r'alertname="(\w+)"', (FOLDER / "sled.rules.test.yml").read_text())) == alerts
    assert set(re.findall(r"`(Sled(?:Hub|Node)\w+)`", PAGE.read_text())) == alerts


def test_the_page_is_current() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert text == page_with(text), "run: python -m tools.metrics_doc"
