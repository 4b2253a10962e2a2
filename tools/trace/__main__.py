"""The command line: `python -m tools.trace NODE_FILE... HUB_FILE`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Optional

import typer
from rich.console import Console

from shared.program import run
from shared.streams import put_json
from tools.trace.clocks import align
from tools.trace.records import Trace, read
from tools.trace.rounds import rounds_of
from tools.trace.table import figures, show
from tools.trace.timeline import timeline


def main(
    files: Annotated[list[Path], typer.Argument(help="traces of one or more nodes, and of their hub")],
    chrome: Annotated[Optional[Path], typer.Option(help="file for a timeline that Perfetto opens")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object instead of tables")] = False,
) -> None:
    """Tell how long each part of a round takes, by the traces that node and hub wrote with --trace.

    Both clocks are put on one by the messages that went between them; the uncertainty that is left is told. docs/trace.md explains the parts.
    """
    nodes, hub = sides([read(file) for file in files])
    clocks = [align(node, hub) for node in nodes]
    rounds = rounds_of(nodes, hub, clocks)
    if chrome is not None:
        chrome.write_text(json.dumps(timeline([*nodes, hub], clocks, rounds)), encoding="utf-8")
    if as_json:
        put_json(figures([*nodes, hub], clocks, rounds))
    else:
        show(Console(), [*nodes, hub], clocks, rounds)


def sides(traces: Sequence[Trace]) -> tuple[list[Trace], Trace]:
    """The nodes' traces and the hub's. Raises RuntimeError unless there is one of a hub, and one or more of nodes."""
    hubs = [trace for trace in traces if trace.head.side == "hub"]
    nodes = [trace for trace in traces if trace.head.side == "node"]
    if len(hubs) != 1 or not nodes:
        raise RuntimeError(
            f"name the traces of one hub and of one or more nodes; there are {len(hubs)} of hubs and {len(nodes)} of nodes"
        )
    return nodes, hubs[0]


if __name__ == "__main__":
    run("tools.trace", main, RuntimeError)
