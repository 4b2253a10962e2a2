"""The command line of the fuzzer."""

from __future__ import annotations

import logging
import sys
from typing import Annotated

import typer

from shared.program import run
from tools.bench.report import progress, show
from tools.fuzz import guided
from tools.fuzz.cost import worst_decode
from tools.fuzz.storm import storm
from tools.fuzz.targets import TARGETS

_SHOWN = 24  # bytes of the costliest frame


def main(
    messages: Annotated[int, typer.Option(min=1, help="how many are sent")] = 200_000,
    seed: Annotated[int, typer.Option(min=0, help="what they are drawn from")] = 1,
    rate: Annotated[float, typer.Option(min=0, help="messages a second; 0: as many as the broker confirms")] = 1000.0,
    search_seconds: Annotated[
        int, typer.Option(min=0, help="for the costliest frame, and for each of three coverage-guided targets")
    ] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object as the last line")] = False,
) -> None:
    """Send mutated, random and costly frames on every topic of hub and node while healthy sessions ask; exit 1 if it harms them.

    Three nodes' credentials write to the hub, and a hub's credential to the nodes.

    sent: messages that the broker confirmed. crashes: of hub, healthy nodes and broker, exceptions that they logged, and findings of the
    coverage-guided part. faults_by_code: what the hub answered. healthy_sessions_disturbed: of three, those with a wrong text, a failed
    answer, or a p95 over 3 times its quiet value. rss_growth_mb: of the hub. broker_rss_mb: its most. log_lines: that the hub wrote.

    worst_decode_us_per_kb: what the costliest frame of 4 KiB or more that a search found takes to be decoded, for each 1,024 bytes.
    guided: executions and covered edges of the codec and of both sessions under coverage-guided inputs.
    """
    logging.basicConfig(level=logging.ERROR)  # one node listens in this process, and would tell of each odd message
    with progress() as bars:
        task = bars.add_task("coverage-guided, and the costliest frame", total=len(TARGETS) + 1)
        cost, frame = worst_decode(search_seconds, seed)
        bars.advance(task)
        found = {}
        for target in TARGETS.values() if search_seconds else ():
            found[target.name] = guided.run(target, search_seconds, seed)
            bars.advance(task)
        bars.remove_task(task)
        result = storm(messages, rate, seed, bars)
    findings = [each.finding for each in found.values() if each.finding]
    figures = result.figures | {
        "crashes": result.figures["crashes"] + len(findings),
        "worst_decode_us_per_kb": round(cost, 1),
        "worst_frame": f"{len(frame)} bytes: {frame[:_SHOWN].hex()}",
        "guided": {name: {"executions": each.executions, "edges": each.covered} for name, each in found.items()},
    }
    for complaint in [*findings, *result.complaints]:
        print(complaint, file=sys.stderr)
    show("fuzz", figures, as_json)
    if figures["crashes"] or figures["healthy_sessions_disturbed"]:
        raise typer.Exit(1)


if __name__ == "__main__":
    run("tools.fuzz", main, RuntimeError)
