"""A real Prometheus reads a real hub and a real node, and what is deployed with them fits what they tell."""

from __future__ import annotations

import json
import re
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from edge_node import metrics as node_metrics
from hub import metrics as hub_metrics
from shared.mqtt import MqttLink
from tests.waiting import wait_until
from tools.demo import node_command
from tools.metrics_doc import PAGE
from tools.rig.broker import free_port
from tools.rig.household import Household, running_service
from tools.rig.prometheus import Prometheus, prometheus_program, running_prometheus
from tools.rig.testbed import HUB, HubBed, running_hub

pytestmark = pytest.mark.slow

DEPLOY = Path(__file__).parents[2] / "deploy"
DASHBOARD, CONFIG = DEPLOY / "grafana" / "sled.json", DEPLOY / "prometheus" / "prometheus.yml"
NEEDS_PROMETHEUS = pytest.mark.skipif(
    prometheus_program("prometheus") is None, reason="prometheus is not here and could not be fetched (make prometheus)"
)


@dataclass
class Fleet:
    bed: HubBed
    house: Household
    answers: list[dict[str, Any]]
    ports: dict[str, int]  # by the names of the jobs


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    ports = {"sled-hub": free_port(), "sled-node": free_port()}
    log = tmp_path_factory.mktemp("service") / "log"
    with (
        running_hub(
            ["pi"], homes=["house"], crowds=["guest"], hub_options=["--metrics-port", str(ports["sled-hub"])]
        ) as bed,
        running_service(bed.broker.settings("pi"), "pi", log, ["--metrics-port", str(ports["sled-node"])]),
        closing(Household(bed.broker.settings("house"), "house", "pi")) as house,
    ):
        asked = [house.ask(text, temperature=0.0) for text in ("turn on the kitchen lights", "what time is it?")]
        yield Fleet(bed, house, [house.answer(request) for request in asked], ports)


@pytest.fixture(scope="module")
def prometheus(fleet: Fleet, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    folder = tmp_path_factory.mktemp("prometheus")
    text = CONFIG.read_text().replace("15s", "200ms").replace("sled.rules.yml", str(CONFIG.with_name("sled.rules.yml")))
    text = text.replace("localhost:9820", f"127.0.0.1:{fleet.ports['sled-hub']}")
    text = text.replace('"localhost:9821", "pi.local:9821"', f'"127.0.0.1:{fleet.ports["sled-node"]}"')
    (folder / "prometheus.yml").write_text(text)
    with running_prometheus(folder / "prometheus.yml", folder) as running:
        yield running


def scraped(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=20) as answer:
        text: str = answer.read().decode()
    return text


def samples(text: str) -> set[str]:
    """The names that can be asked for."""
    return {re.split("[ {]", line)[0] for line in text.splitlines() if not line.startswith("#")}


def expressions() -> dict[str, str]:
    """Those of the dashboard, by panel and target."""
    panels = json.loads(DASHBOARD.read_text())["panels"]
    return {f"{panel['title']} {target['refId']}": target["expr"] for panel in panels for target in panel["targets"]}


@NEEDS_PROMETHEUS
def test_prometheus_knows_what_hub_and_node_have_counted(fleet: Fleet, prometheus: Prometheus) -> None:
    def is_known(metric: str, wanted: dict[str, float]) -> bool:
        found = prometheus.values(f"{{__name__=~'sled_(hub|node)_{metric}'}}")
        return found == wanted

    def of_answers(key: str) -> float:
        return float(sum(answer[key] for answer in fleet.answers))

    tokens = of_answers("tokens")
    assert tokens > 20
    wait_until(lambda: is_known("committed_tokens_total", {"sled-hub": tokens, "sled-node": tokens}))
    for metric, key in (
        ("accepted_tokens_total", "accepted"),
        ("drafted_tokens_total", "drafted"),
        ("streamed_tokens_total", "streamed"),
    ):
        assert prometheus.values(f"sled_node_{metric}") == {"sled-node": of_answers(key)}
    assert prometheus.values("up") == {"sled-hub": 1.0, "sled-node": 1.0}
    assert prometheus.values("sled_node_answers_total") == {"sled-node": 2.0}
    assert prometheus.values("sled_hub_accepted_tokens_total") == {"sled-hub": of_answers("accepted")}
    assert prometheus.values("sled_hub_nodes * on (instance) group_left (hub, pair) sled_hub_info{pair='home'}") == {
        "sled-hub": 1.0
    }
    told = fleet.bed.hub_stats()
    wait_until(lambda: is_known("rounds_total", {"sled-hub": told["rounds"], "sled-node": of_answers("rounds")}))
    spent = prometheus.values("sled_hub_forward_seconds_sum")["sled-hub"]
    assert spent == pytest.approx(told["forward_us"] / 1e6)


@NEEDS_PROMETHEUS
def test_prometheus_understands_dashboard_and_rules(fleet: Fleet, prometheus: Prometheus) -> None:
    wait_until(lambda: len(prometheus.values("up")) == 2)
    for title, expression in expressions().items():
        query = expression.replace("$__rate_interval", "1m")
        found = prometheus.ask("query", query=query)["result"]  # raises HTTPError for what is no expression
        assert found or "promised" in expression, title  # the pair `home` promises nothing
    groups = prometheus.ask("rules")["groups"]
    wait_until(
        lambda: all(rule["health"] == "ok" for group in prometheus.ask("rules")["groups"] for rule in group["rules"])
    )
    assert sum(len(group["rules"]) for group in groups) > 10
    assert prometheus.values("count(ALERTS{alertstate='firing'}) or vector(0)") == {"": 0.0}


def test_dashboard_and_rules_name_metrics_that_there_are(fleet: Fleet) -> None:
    there = set.union(*(samples(scraped(port)) for port in fleet.ports.values()), {"sled_node_draft_promised_ratio"})
    rules = (CONFIG.with_name("sled.rules.yml")).read_text()
    tried = (CONFIG.with_name("sled.rules.test.yml")).read_text()
    page = re.sub(r"<!-- written.*until here -->", "", PAGE.read_text(), flags=re.DOTALL)
    for text in (" ".join(expressions().values()), rules, tried, page):
        named = set(re.findall(r"\b(?:sled_(?:hub|node)|process)_\w+", text))
        assert named - there == set()
        assert len(named) > 5


def test_exactly_what_the_page_lists_is_told(fleet: Fleet) -> None:
    for job, rows in (("sled-hub", hub_metrics.ROWS), ("sled-node", node_metrics.ROWS)):
        told = re.findall(r"^# TYPE (sled_\w+) (\w+)$", scraped(fleet.ports[job]), re.MULTILINE)
        assert told == [(row.name, row.kind) for row in rows]


def test_prometheus_own_linter_finds_nothing(fleet: Fleet) -> None:
    promtool = prometheus_program("promtool")
    if promtool is None:
        pytest.skip("promtool is not here and could not be fetched (make prometheus)")
    for port in fleet.ports.values():
        command = [promtool, "check", "metrics"]
        done = subprocess.run(command, input=scraped(port), capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_hub_writes_its_stats_once_a_second_whatever_it_has_to_announce(fleet: Fleet) -> None:
    with closing(MqttLink(fleet.bed.broker.settings("guest"), "guest")) as guest:
        guest.connect()
        told: list[int] = []
        online: list[bool] = []

        def has_come_back(times: int) -> bool:
            return online.count(True) >= times

        guest.subscribe(
            f"sled/hub/{HUB}/stats", lambda _, payload: told.append(json.loads(payload)["at_us"]), retained=False
        )
        guest.subscribe(
            f"sled/hub/{HUB}/status", lambda _, payload: online.append(json.loads(payload)["online"]), retained=False
        )
        for count in range(1, 6):
            guest.publish_json(
                f"sled/hub/{HUB}/status", {"online": False}
            )  # an old last will: the hub announces itself
            wait_until(partial(has_come_back, count))
        wait_until(lambda: len(told) >= 3)
        # By the hub's own clock, which it read when it wrote them.
        assert all(later - earlier >= 1_000_000 for earlier, later in pairwise(told))


def test_a_node_writes_its_stats_at_most_once_a_second(fleet: Fleet) -> None:
    with closing(MqttLink(fleet.bed.broker.settings("guest"), "guest")) as guest:
        guest.connect()
        told: list[dict[str, Any]] = []
        guest.subscribe("sled/node/pi/stats", lambda _, payload: told.append(json.loads(payload)), retained=False)
        before, began = fleet.house.stats["refused"], time.monotonic()
        for _ in range(25):
            fleet.house.send("ask", '{"text": 5}')  # is refused, which changes the figures
            time.sleep(0.1)
        wait_until(lambda: told and told[-1]["refused"] == before + 25)
        assert len(told) <= time.monotonic() - began + 1


@pytest.mark.parametrize("program", ["edge_node", "hub"])
def test_a_port_that_is_taken_ends_the_program_at_its_start(fleet: Fleet, program: str) -> None:
    port = fleet.ports["sled-hub"]
    command = node_command(fleet.bed.broker.settings("pi"), "pi", {"edge_node": "run", "hub": "serve"}[program])
    command[command.index("edge_node.cli")] = f"{program}.cli"
    done = subprocess.run(
        [*command, "--metrics-port", str(port)], capture_output=True, text=True, check=False, timeout=60
    )
    who = {"edge_node": "sled-node", "hub": "sled-hub"}[program]
    said = f"{who}: can't listen for Prometheus on 127.0.0.1:{port}: Address already in use; change metrics_port or metrics_host\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", said)
