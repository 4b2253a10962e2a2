"""The command line of the chaos runs."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Optional

import typer
from rich.progress import Progress

from shared.program import run
from tools.bench.report import progress, show
from tools.chaos.judge import Judgement, judge
from tools.chaos.play import play
from tools.chaos.rolling import roll
from tools.chaos.schedule import Schedule, draw
from tools.chaos.shrink import shrink

_TOLD = 20  # failures that are told one by one


def main(
    minutes: Annotated[float, typer.Option(min=0.1, max=1440, help="how long things happen")] = 10.0,
    seed: Annotated[int, typer.Option(min=0, help="what the schedule and the requests are drawn from")] = 1,
    hubs: Annotated[int, typer.Option(min=1, max=4, help="how many hubs")] = 2,
    nodes: Annotated[int, typer.Option(min=1, max=16, help="how many nodes")] = 4,
    replay: Annotated[Optional[Path], typer.Option(dir_okay=False, help="play this schedule instead")] = None,
    shrinking: Annotated[
        Optional[Path],
        typer.Option("--shrink", dir_okay=False, help="leave out what this failing schedule can do without"),
    ] = None,
    runs: Annotated[int, typer.Option(min=1, help="with --shrink: most runs")] = 16,
    rolling: Annotated[bool, typer.Option("--rolling", help="restart two hubs in turn instead")] = False,
    restarts: Annotated[int, typer.Option(min=1, max=1000, help="with --rolling: restarts in all")] = 4,
    sessions: Annotated[int, typer.Option(min=2, max=200, help="with --rolling: conversations")] = 24,
    settle: Annotated[
        float, typer.Option(min=5, max=3600, help="with --rolling: most seconds for sessions to spread")
    ] = 60.0,
    failed: Annotated[Path, typer.Option(dir_okay=False, help="where a schedule that fails is kept")] = Path(
        "build/chaos-failed.json"
    ),
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object as the last line")] = False,
) -> None:
    """Kill, freeze and cut off broker, hubs and nodes while nodes ask; exit 1 unless each answer is what it should be.

    Broker, hubs and nodes are processes; each reaches the broker through a proxy that cuts its connection or delays, drops, doubles
    and reorders its messages. The schedule is drawn from the seed. One that fails is printed and kept.

    sessions: chats and sessions opened anew. answers: that came. kills: SIGKILL of a broker, hub or node; kills_mid_round: those while a
    draft was waiting for its verdict there. network_faults: cuts, and messages delayed, dropped, doubled or reordered.

    mismatched_tokens: of all answers, against plain transformers. lost_answers: that a living node gave up on, and programs that ended by
    themselves. hangs: answers that took over 60 s though all that they need was there for the last 20 s of it, or that never came.

    recovery_ms_p99: from when node, broker and a hub were all in reach again (or, where they were, from the last kill, cut or lost message
    that concerned the answer) to its next tokens.

    --rolling: two hubs are asked to end and started again in turn, while conversations ask. moved_answers: that went on at the other hub in
    their middle; longest_pause_s: the longest time without a piece of one. even_s_worst: seconds from when a hub was online again until
    both had at most 20 % more or fewer sessions than on average; uneven_restarts: behind which that did not come; spread: mean deviation from then on, the worst of all restarts.
    """
    if rolling:
        _roll(restarts, sessions, settle, seed, as_json)
        return
    if shrinking is not None:
        _shrink(Schedule.read(shrinking), runs, failed)
        return
    names = [f"hub-{i}" for i in range(hubs)], [f"node-{i}" for i in range(nodes)]
    schedule = Schedule.read(replay) if replay is not None else draw(seed, 60 * minutes, *names)
    with progress() as bars:
        judgement = _run(schedule, bars)
    if judgement.failed:
        failed.parent.mkdir(parents=True, exist_ok=True)
        failed.write_text(schedule.to_json())
        _tell(judgement, schedule, failed)
    show("chaos", judgement.figures, as_json)
    if judgement.failed:
        raise typer.Exit(1)


def _run(schedule: Schedule, bars: Progress) -> Judgement:
    return judge(play(schedule, bars), bars)


def _roll(restarts: int, sessions: int, settle_s: float, seed: int, as_json: bool) -> None:
    with progress() as bars:
        rolled = roll(restarts, sessions, settle_s, seed, bars)
    for complaint in rolled.complaints[:_TOLD]:
        print(complaint, file=sys.stderr)
    show("chaos --rolling", rolled.figures, as_json)
    if rolled.failed:
        raise typer.Exit(1)


def _tell(judgement: Judgement, schedule: Schedule, file: Path) -> None:
    for complaint in judgement.complaints[:_TOLD]:
        print(complaint, file=sys.stderr)
    print(schedule.to_json())
    print(f"replay it with: python -m tools.chaos --replay {file}", file=sys.stderr)


def _shrink(schedule: Schedule, runs: int, file: Path) -> None:
    with progress() as bars:
        task = bars.add_task("shrinking", total=runs)

        def fails(smaller: Schedule) -> bool:
            judgement = _run(smaller, bars)
            bars.advance(task)
            if judgement.failed:
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(smaller.to_json())
            return judgement.failed

        smallest, tried = shrink(schedule, fails, runs)
    print(smallest.to_json())
    print(json.dumps({"events_before": len(schedule.events), "events": len(smallest.events), "runs": tried}))


if __name__ == "__main__":
    run("tools.chaos", main, RuntimeError)
