"""How long each part of a round takes, by the traces of a real hub and a real node, and what tracing costs the hub's engine.

    rounds                 with drafted tokens, followed on both sides
    offset_ms              of the clocks, as the messages say; on one machine it is 0
    uncertainty_ms         that they leave
    records_per_round      that the hub writes for each of its rounds
    bytes_per_round        of the hub's file
    forward_us_per_round   of forwards, which is less than the hub's engine is busy for a round
    on_us_per_round        that the records of a round take which has a forward for itself
    on_percent             the same as a share of the time of its forward
    piece_us               that the record of a piece of drafting takes a node
    off_ns_per_round       that it takes to look whether there is a trace, where there is none
    off_percent            the same as a share of the time of a round's forward

What records take is measured by writing many like them: no run of a hub tells a hundredth more or less.
"""

from __future__ import annotations

import random
import tempfile
import timeit
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from rich.console import Console

from edge_node.assembly import connected
from edge_node.dialogue.answer import Answer
from edge_node.dialogue.generation import Generation
from edge_node.rounds.trace import RoundTrace
from edge_node.settings import Mode, NodeSettings
from hub.engine.scheduler import Plan
from hub.engine.trace import EngineTrace
from hub.sessions.session import SessionKey
from shared.messages import Draft, Verdict
from shared.trace_file import TraceFile
from tools.bench.report import progress, show
from tools.bench.soak_picture import check_picture
from tools.bench.trace_picture import draw
from tools.home.data.generate import exchange
from tools.home.data.invent import HELD_OUT
from tools.rig.delay_proxy import delayed
from tools.rig.testbed import running_hub
from tools.trace.clocks import align
from tools.trace.records import Published, of_kind, read
from tools.trace.rounds import Kind, rounds_of
from tools.trace.table import by_kind
from tools.trace.table import figures as parts_of
from tools.trace.table import show as show_parts

_REPEATED = 20_000  # times that a round's records are written to see what that takes


def run(requests: int, pair_name: str, rtt_ms: float, plot: Path | None, as_json: bool) -> None:
    """Print the tables and the figures above; save the picture to `plot`."""
    if plot is not None:
        check_picture(plot)
    with tempfile.TemporaryDirectory(prefix="sled-trace-") as name:
        folder = Path(name)
        forward_us = _converse(requests, pair_name, rtt_ms, folder)
        node, hub = read(folder / "node.trace"), read(folder / "hub.trace")
        size = (folder / "hub.trace").stat().st_size
        on_us, piece_us = cost_on_us(folder / "again.trace", _REPEATED)
    clock = align(node, hub)
    rounds = rounds_of([node], hub, [clock])
    if plot is not None:
        draw(node, hub, clock, rounds, plot)
    off_ns = cost_off_ns()
    served = sum(each.message == "Verdict" for each in of_kind(hub, Published))
    figures = {
        "rtt_ms": rtt_ms,
        "rounds": len(by_kind(rounds)[Kind.DRAFTED]),
        "offset_ms": clock.offset / 1e6,
        "uncertainty_ms": clock.uncertainty / 1e6,
        "records_per_round": round(len(hub.records) / served, 2),
        "bytes_per_round": round(size / served, 1),
        "forward_us_per_round": round(forward_us),
        "on_us_per_round": round(on_us, 2),
        "on_percent": round(100 * on_us / forward_us, 3),
        "piece_us": round(piece_us, 2),
        "off_ns_per_round": round(off_ns, 1),
        "off_percent": round(off_ns / 10 / forward_us, 6),
    }
    show_parts(Console(stderr=True), [node, hub], [clock], rounds)
    show("trace", figures, as_json, {"parts": parts_of([node, hub], [clock], rounds)})


def _converse(requests: int, pair_name: str, rtt_ms: float, folder: Path) -> float:
    """Have a node ask a hub, both traced into `folder`; microseconds of forwards for each of the hub's rounds."""
    rng = random.Random(7)
    with (
        running_hub(["node"], pair_name, ["--trace", str(folder / "hub.trace")]) as bed,
        _reached(bed.node("node", mode=Mode.SPECULATE, trace=folder / "node.trace"), rtt_ms) as settings,
        connected(settings) as node,
        progress() as bars,
    ):
        for _ in bars.track(range(requests), description="answers"):
            for _ in node.ask(exchange(rng, HELD_OUT).request, Generation(temperature=0.0), Answer()):
                pass
            node.clear()
        stats = bed.hub_stats()
    return float(stats["forward_us"] / stats["rounds"])


@contextmanager
def _reached(settings: NodeSettings, rtt_ms: float) -> Iterator[NodeSettings]:
    """The settings with a way to the broker that takes so long."""
    if not rtt_ms:
        yield settings
        return
    with delayed(settings.broker.port, rtt_ms) as port:
        yield replace(settings, broker=replace(settings.broker, port=port))


def cost_on_us(path: Path, repeated: int) -> tuple[float, float]:
    """Microseconds that the records of one round take the engine, and that of a piece of drafting a node.

    Each is the quickest of several runs, as other programs run too.
    """
    file = TraceFile(path, "hub", "hub")
    trace, key = EngineTrace(file), SessionKey("node", bytes(16))
    session: Any = SimpleNamespace(key=key, round=7)
    row: Any = SimpleNamespace(session=session, ids=(1, 2, 3, 4, 5), wanted=5)
    work: Any = None
    forwarded: Any = None
    draft, verdict = Draft(7, 100, 2**60, (1, 2, 3, 4)), Verdict(7, 100, 4, (5,))
    plan = trace.planning(lambda _work, _idle_s: Plan((row,), None))
    compute = trace.computing(lambda _rows: forwarded)
    publish = trace.publishing(lambda _key, _message: None)

    def once() -> None:
        trace.received(key, draft, 1000.0)
        plan(work, 0.0)
        compute((row,))
        publish(key, verdict)

    node = RoundTrace(file)
    took = [
        1e6 * min(timeit.repeat(each, number=repeated, repeat=5)) / repeated
        for each in (once, lambda: node.drafted(10**15, 10**15 + 10**6, 1))
    ]
    file.close()
    return took[0], took[1]


def cost_off_ns() -> float:
    """Nanoseconds that the engine takes to see that there is no trace; of the rest it does what it does without."""
    engine: Any = SimpleNamespace(trace=None)

    def quickest(statement: str) -> float:
        return min(timeit.repeat(statement, globals={"engine": engine}, number=100_000, repeat=5)) / 100_000

    return 1e9 * (quickest("if engine.trace is not None: pass") - quickest("pass"))
