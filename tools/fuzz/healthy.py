"""Sessions that do nothing wrong, in a process of their own: they ask the same requests in turn and note text and time.

Each line on standard input ends a phase, whose report is printed as a JSON line: for each node its answers as
[request, text, seconds], and what failed.
"""

from __future__ import annotations

import itertools
import json
import logging
import sys
import threading
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from edge_node.assembly import connected
from edge_node.dialogue.answer import Answer
from edge_node.dialogue.generation import Generation
from edge_node.settings import NodeSettings
from shared.settings import load

REQUESTS = (
    "turn on the kitchen lights",
    "set the bedroom to 20 degrees",
    "turn off all the fans",
    "what is the temperature in the hall",
    "open the blinds in the living room and turn on the tv",
    "set a timer for ten minutes",
)
_GENERATION = Generation(temperature=0.8, seed=7, max_tokens=64)
_PAUSE_S = 0.05


class Phase:
    """What one node's session has been answered since the last report."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, str, float]] = []
        self.failures: list[str] = []


def main(settings_files: Annotated[list[Path], typer.Argument(help="TOML files, one for each node")]) -> None:
    """Ask until standard input ends."""
    logging.basicConfig(level=logging.ERROR)  # as sled-node does
    phases = {file.stem: Phase() for file in settings_files}
    for file in settings_files:
        threading.Thread(target=_ask_on, args=(file, phases), daemon=True).start()
    for _ in sys.stdin:
        report: dict[str, Any] = {}
        for name, phase in list(phases.items()):
            phases[name] = Phase()
            report[name] = {"answers": phase.answers, "failures": phase.failures}
        sys.stdout.write(f"{json.dumps(report)}\n")
        sys.stdout.flush()


def _ask_on(file: Path, phases: dict[str, Phase]) -> None:
    settings = load(NodeSettings, "node", {}, file)
    with connected(settings) as conversation:
        for number in itertools.cycle(range(len(REQUESTS))):
            answer = Answer()
            began = time.monotonic()
            try:
                conversation.clear()
                for _ in conversation.ask(REQUESTS[number], _GENERATION, answer):
                    pass
                phases[file.stem].answers.append((number, answer.text, time.monotonic() - began))
            except Exception as error:  # whatever it is, the session was disturbed
                phases[file.stem].failures.append(f"{type(error).__name__}: {error}")
            time.sleep(_PAUSE_S)


if __name__ == "__main__":
    typer.run(main)
