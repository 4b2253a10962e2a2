"""A round's overhead on loopback: everything between publishing a draft and its verdict but the target's forward."""

from __future__ import annotations

import random

from edge_node.assembly import connected
from edge_node.dialogue.answer import Answer
from edge_node.dialogue.generation import Generation
from edge_node.doctor import examine
from edge_node.settings import Mode
from tools.bench.report import progress, quantile, show
from tools.home.data.generate import exchange
from tools.home.data.invent import HELD_OUT
from tools.rig.testbed import running_hub


def run(requests: int, pair_name: str, as_json: bool) -> None:
    """Print `overhead_ms_p50`, `overhead_ms_p99`, `bytes_up_per_round` and `bytes_down_per_round`.

    `echo_ms_p50` is what a message and its answer take over the same broker at that time with nothing done between them.
    """
    rng = random.Random(7)
    overheads: list[float] = []
    up: list[int] = []
    down: list[int] = []
    with (
        running_hub(["node"], pair_name) as bed,
        connected(bed.node("node", mode=Mode.SPECULATE)) as node,
        progress() as bars,
    ):
        broker = next(examine(bed.node("node")))
        for _ in bars.track(range(requests), description="rounds"):
            answer = Answer()
            for _ in node.ask(exchange(rng, HELD_OUT).request, Generation(temperature=0.0), answer):
                pass
            node.clear()
            overheads += answer.stats.overheads_s
            up += answer.stats.bytes_up
            down += answer.stats.bytes_down
    figures = {
        "rounds": len(overheads),
        "echo_ms_p50": broker.figures["round_trip_ms"],
        "overhead_ms_p50": round(1e3 * quantile(overheads, 0.5), 3),
        "overhead_ms_p99": round(1e3 * quantile(overheads, 0.99), 3),
        "bytes_up_per_round": round(sum(up) / len(up), 1),
        "bytes_down_per_round": round(sum(down) / len(down), 1),
        "bytes_up_most": max(up),
        "bytes_down_most": max(down),
    }
    show("round", figures, as_json)
