"""A node at a site whose broker reaches the hub's broker by a bridge over a slow link."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_node.assembly import connected
from edge_node.dialogue.answer import Answer
from edge_node.dialogue.generation import Generation
from edge_node.settings import Mode
from hub.enrolment.bridge import bridge_configuration
from shared.topics import Topics
from tools.rig.broker import private_broker
from tools.rig.delay_proxy import delayed
from tools.rig.testbed import HUB, running_hub

REQUEST = "turn on the kitchen lights"


@pytest.mark.slow
def test_a_node_is_served_over_a_bridge_and_goes_on_when_the_link_was_cut(tmp_path: Path) -> None:
    with running_hub(["pi"], hub_options=["--threads", "1"]) as bed:
        with connected(bed.node("pi")) as node:
            expected = Answer()
            assert "".join(node.ask(REQUEST, Generation(), expected))
        password = bed.broker.password_file("pi").read_text().strip()
        with delayed(bed.broker.port, rtt_ms=40) as port:
            bridge = bridge_configuration([("pi", password)], f"127.0.0.1:{port}", Topics())
            with private_broker(tmp_path, [HUB], ["pi"], more=bridge) as site:
                there = bed.node("pi", broker=site.settings("pi"), mode=Mode.SPECULATE)
                with connected(there) as node:
                    answer = Answer()
                    assert "".join(node.ask(REQUEST, Generation(), answer)) == expected.text
                    assert answer.stats.rtt_ms > 38, "each round goes over the link"
                    bed.broker.stop()
                    bed.broker.start()
                    again = Answer()
                    assert "".join(node.ask("and the bedroom too", Generation(), again))
                    assert again.text
