"""The picture of `tools.scale`: a session's rate by the number of sessions, measured and simulated, and answers by the number of hubs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure


def draw(figures: Mapping[str, Any], path: Path) -> None:
    """Save it."""
    figure = Figure(figsize=(10, 4), layout="constrained")
    rates, answers = figure.subplots(1, 2)
    for name, style in (("measured", "o-"), ("simulated", "x--")):
        seen = figures[f"{name}_rates"]
        rates.plot([int(count) for count in seen], list(seen.values()), style, label=name)
    rates.axhline(figures["rate"], color="grey", linewidth=0.8)
    rates.set(
        xscale="log",
        yscale="log",
        xlabel="sessions at one hub",
        ylabel="tokens per second of a session",
        title=f"one hub, {figures['shape']}",
    )
    rates.set_xticks([int(count) for count in figures["measured_rates"]], list(figures["measured_rates"]))
    rates.minorticks_off()
    rates.legend()
    hubs = figures["hubs"]
    for key, label in (("p50_s", "half of the answers"), ("p95_s", "95 of 100 answers")):
        answers.plot(list(hubs), [each[key] for each in hubs.values()], "o-", label=label)
    answers.set(
        yscale="log",
        xlabel="hubs",
        ylabel="seconds of an answer, at most",
        title=f"{figures['devices']:,} devices, simulated",
    )
    answers.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
