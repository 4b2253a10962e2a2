"""How many devices some hubs serve: simulated from measured costs, and checked against a real hub.

    python -m tools.scale --json

First costs are measured: forwards alone, and what is beside them with one session and with eight at a real hub. From these the simulation predicts what
other numbers of sessions get, which the real hub is then asked for. With the same costs it goes where no real run can: thousands of devices on up to 16 hubs.

    costs_ms              a forward's fixed time, that of a row, of a token; a step's and a message's beside it; the way of a message
    measured_rates, simulated_rates   tokens per second of a session, by the number of sessions: what all but the slowest twentieth have
    rate                  tokens per second that a session should have: half of what one alone has
    measured_sessions, simulated_sessions, sessions_ratio   how many have it
    worst_rate_ratio      the largest deviation among the rates that were predicted
    hubs                  by the number of hubs: of that many devices, answers per second, their p50 and p95 in seconds, the share of time that hubs compute
"""

from __future__ import annotations

from shared.loading import begin_loading, loaded

if __name__ == "__main__":
    begin_loading()

from pathlib import Path
from typing import Annotated, Any

import typer

from hub.settings import Weights
from shared.program import run
from tools.bench.report import progress, quantile, show
from tools.bench.site import Rig
from tools.scale.measured import CALIBRATED, calibrated, forward_costs, load_target, run_real, sessions_held
from tools.scale.picture import draw
from tools.scale.simulation import Costs, Habits, simulate

_SLOWEST = 0.05
_HUBS = (1, 2, 4, 8, 16)
_HOME = Habits(acceptance=0.8, length=4, draft_s=0.02, answer=32, think_s=300.0, prompt=24)
_SIMULATED_S = 120.0


def scale(
    shape: Annotated[str, typer.Option(help="of the target: one of those of `bench capacity`")] = "20m",
    sessions: Annotated[str, typer.Option(help="numbers of them at the real hub")] = "1,2,4,8,16,32",
    devices: Annotated[int, typer.Option(min=1, help="of the large simulation")] = 10_000,
    seconds: Annotated[float, typer.Option(min=0.5, help="of each measurement at least")] = 4.0,
    plot: Annotated[Path | None, typer.Option(dir_okay=False, help="picture to save")] = None,
    as_json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """Measure, simulate, compare."""
    counts = sorted({*CALIBRATED, *(int(each) for each in sessions.split(","))})
    habits = Habits(answer=96)
    rig = Rig(shape, "float32", Weights.AUTO, "cpu", "broker", seconds, threads=1)
    target = load_target(rig)
    with progress() as bars:
        task = bars.add_task("measuring", total=len(counts) + 1 + len(_HUBS))
        costs = forward_costs(target, habits)
        bars.advance(task)

        def tell(count: int) -> None:
            bars.update(task, description=f"{count} sessions at a real hub", advance=1)

        loads = run_real(rig, habits, counts, tell)
        costs = calibrated(costs, habits, loads)
        measured = {count: load.held for count, load in loads.items()}
        simulated = {count: _rate(costs, habits, count) for count in counts}
        hubs = {}
        for count in _HUBS:
            bars.update(task, description=f"{devices} devices on {count} hubs", advance=1)
            hubs[str(count)] = _many(costs, devices, count)
    goal = measured[1] / 2
    held = {name: sessions_held(rates, goal) for name, rates in (("measured", measured), ("simulated", simulated))}
    off = max(abs(simulated[count] / measured[count] - 1) for count in counts if count not in CALIBRATED)
    figures: dict[str, Any] = {
        "shape": shape,
        "costs_ms": {name.removesuffix("_s"): round(1e3 * value, 3) for name, value in vars(costs).items()},
        "measured_rates": {str(count): round(rate, 2) for count, rate in measured.items()},
        "simulated_rates": {str(count): round(rate, 2) for count, rate in simulated.items()},
        "rate": round(goal, 2),
        "measured_sessions": round(held["measured"], 2),
        "simulated_sessions": round(held["simulated"], 2),
        "sessions_ratio": round(held["simulated"] / held["measured"], 3),
        "worst_rate_ratio": round(1 + off, 3),
        "devices": devices,
        "hubs": hubs,
    }
    if plot is not None:
        draw(figures, plot)
    show(f"scale, {shape}", figures, as_json)


def _rate(costs: Costs, habits: Habits, sessions: int) -> float:
    """Tokens per second that all but the slowest have."""
    outcome = simulate(costs, habits, sessions)
    return quantile([tokens / outcome.seconds for tokens in outcome.tokens], _SLOWEST)


def _many(costs: Costs, devices: int, hubs: int) -> dict[str, float]:
    outcome = simulate(costs, _HOME, devices, hubs, _SIMULATED_S, warm_up_s=30.0)
    answers = outcome.answers_s or [_SIMULATED_S]
    return {
        "answers_per_s": round(len(outcome.answers_s) / outcome.seconds, 2),
        "p50_s": round(quantile(answers, 0.5), 2),
        "p95_s": round(quantile(answers, 0.95), 2),
        "busy": round(sum(outcome.busy_s) / hubs / outcome.seconds, 3),
        "rows_per_forward": round(outcome.rows / max(1, outcome.forwards), 1),
    }


if __name__ == "__main__":
    loaded()
    run("tools.scale", scale, RuntimeError)
