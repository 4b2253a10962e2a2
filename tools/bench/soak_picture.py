"""The picture of a soak: memory of each process over time, and what answers took."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from shared.errors import SettingsError
from tools.bench.report import quantile
from tools.bench.soak_samples import Sample

_POINTS = 120  # of the latency's lines: each stands for as many answers as a quantile needs
_FORMATS = (".png", ".svg", ".pdf")


def check_picture(out: Path) -> None:
    """Make the picture's folder, before an hour is spent on what is to be drawn. Raises SettingsError or OSError."""
    if out.suffix not in _FORMATS:
        raise SettingsError(f"{out} is no name of a picture; let it end in {', '.join(_FORMATS)}")
    out.parent.mkdir(parents=True, exist_ok=True)


def draw(samples: Sequence[Sample], out: Path) -> None:
    """Save the picture to `out`, in a folder that is there."""
    from matplotlib import pyplot as plt  # no other benchmark should wait for it

    figure, (memory, latency) = plt.subplots(2, 1, figsize=(9, 7), sharex=True)
    minutes = [sample.at_s / 60 for sample in samples]
    for name in samples[0].processes:
        memory.plot(minutes, [sample.processes[name].rss_mb for sample in samples], label=name)
    memory.set(ylabel="resident memory, MB", ylim=0)
    group = -(-len(samples) // _POINTS)
    parts = [samples[at : at + group] for at in range(1, len(samples), group)]
    answers = [(part[-1].at_s / 60, [ms for sample in part for ms in sample.answers_ms]) for part in parts]
    for share, color in ((0.95, "tab:blue"), (0.5, "tab:green")):
        points = [(at, quantile(took, share)) for at, took in answers if took]
        latency.plot(*zip(*points, strict=True), color=color, label=f"p{100 * share:.0f}")
    latency.set(xlabel="minutes", ylabel="ms for an answer", ylim=0)
    load = latency.twinx()
    load.plot(minutes, [sample.load for sample in samples], color="tab:gray", alpha=0.5, linewidth=1)
    load.set(ylim=0)
    load.set_ylabel("load of the machine", color="tab:gray")
    for axes in (memory, latency):
        axes.grid(visible=True, alpha=0.3)
        axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=4, frameon=False)
    figure.tight_layout()
    figure.savefig(out, dpi=100)
    plt.close(figure)
