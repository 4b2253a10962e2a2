"""What a device's tokens take over a network: streaming, speculating, drafting while waiting, early verdicts, and the gate.

The target has the 1.1 B shape, the broker is behind a proxy that delays, and the node's own loop runs with a drafter whose speed
and acceptance are set (`tools.rig.emulated`); a drafted token is right with a chance that is decided before the text is looked at,
and so is what the target's early exit says. With `pair` "home" it is the built-in pair with its real draft.

    first_token_ratio   with a prompt of 512 ids and 120 ms for a drafted token: the first token's time over streaming's
    cells   for each: rtt_ms, draft_ms (of one token), acceptance, mode, ms_per_token and its ratio to streaming's

Modes take turns, `stream` before and after each pass over the others; a ratio is the median of the passes. `speculate`, `ahead`
(drafting while waiting) and `early` (with early verdicts as well) draft blocks of one length, the best for these conditions, so that
they can be compared: `predicted` is the share of a round that drafting while waiting should save, `gain` what it saved. `auto` is
what a node does by itself. ms_per_token counts from an answer's first token on, so that the prompt is in none of them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from itertools import product
from pathlib import Path

from shared.errors import SettingsError
from tools.bench.contest import MODES, THOROUGH, Cell, Conditions, contest, serving
from tools.bench.heat_maps import ACCEPTANCES, DRAFTS, RTTS, draw
from tools.bench.report import progress, show, show_rows

_SHORT = (*THOROUGH, (200, 120, 0.4), (0, 120, 0.4), (200, 5, 0.9), (50, 40, 0.6))


def wanted(shape: str, full: bool, only: Sequence[str]) -> list[Conditions]:
    """The groups to measure: those of `only`, each as "RTT,DRAFT,ACCEPTANCE"; else all, or the telling ones. Raises SettingsError."""
    if only:
        try:
            numbers = [tuple(map(float, each.split(","))) for each in only]
            if not all(
                0 <= rtt <= 1e6 and 0 <= draft <= 1e6 and 0 <= acceptance <= 1 for rtt, draft, acceptance in numbers
            ):
                raise ValueError("out of range")
            return [Conditions(shape, int(rtt), draft, acceptance) for rtt, draft, acceptance in numbers]
        except (ValueError, OverflowError):
            raise SettingsError("give conditions as RTT,DRAFT,ACCEPTANCE in ms, for example 20,15,0.8") from None
    groups = [Conditions(shape, *each) for each in (product(RTTS, DRAFTS, ACCEPTANCES) if full else _SHORT)]
    return groups + [Conditions("home", rtt, 0.0, 0.0) for rtt in (RTTS if full else (0, 100))]


def run(groups: Sequence[Conditions], fresh: bool, out: Path, state: Path, as_json: bool) -> None:
    """Measure what is not in `state` yet, print it, and draw all that `state` has to `out`."""
    if fresh:
        state.unlink(missing_ok=True)
    done, firsts = _read(state)
    missing = [g for g in groups if g not in done]
    for path in (state, out):
        path.parent.mkdir(parents=True, exist_ok=True)
    with progress() as bars:
        bar = bars.add_task("groups of modes", total=len(groups), completed=len(groups) - len(missing))
        for pair in dict.fromkeys(group.pair for group in missing):
            with serving(pair) as (bed, served):
                for group in [g for g in missing if g.pair == pair]:
                    with contest(bed, served, group) as modes:
                        done[group] = modes.compare()
                        first = modes.first_token() if group == groups[0] else None
                    row = {
                        "group": asdict(group),
                        "cells": [asdict(cell) for cell in done[group]],
                        "first_token": first,
                    }
                    with state.open("a") as file:
                        file.write(json.dumps(row) + "\n")
                    firsts += [first] if first else []
                    bars.advance(bar)
    cells = [cell for g in groups for cell in done[g]]
    draw([cell for measured in done.values() for cell in measured], out)
    show_rows(
        "latency",
        ("pair", "rtt ms", "draft ms", "acceptance", *MODES),
        [
            [g.pair, g.rtt_ms, done[g][-1].draft_ms, done[g][-1].acceptance]
            + [f"{cell.ms_per_token:.1f} ({cell.ratio:.2f})" for cell in done[g]]
            for g in groups
        ],
    )
    worst = max((cell.ratio for cell in cells if cell.mode == "auto"), default=0.0)
    show(
        "latency",
        {"worst_auto_ratio": worst, "first_token_ratio": round(firsts[-1], 3) if firsts else None, "picture": str(out)},
        as_json,
        {"cells": [asdict(cell) for cell in cells]},
    )


def _read(state: Path) -> tuple[dict[Conditions, list[Cell]], list[float]]:
    """Groups that were measured before, and ratios of the first token's time."""
    lines = state.read_text().splitlines() if state.exists() else []
    rows = [json.loads(line) for line in lines]
    cells = {Conditions(**row["group"]): [Cell(**cell) for cell in row["cells"]] for row in rows}
    return cells, [row["first_token"] for row in rows if row["first_token"]]
