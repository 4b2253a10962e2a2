"""Plots what `tools.home.train` logged, over compute: target and draft, and, of two runs, staged against plain training.

python -m tools.home.training.plot_loss --build build/home --out docs/home-loss.png
python -m tools.home.training.plot_loss --build build/staged --plain build/plain --out docs/home-stages.png
"""

from __future__ import annotations

from shared.loading import begin_loading, loaded

if __name__ == "__main__":
    begin_loading()

import csv
import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Optional

import typer
from matplotlib import pyplot as plt

from shared.errors import SettingsError
from shared.program import run


@dataclass(frozen=True)
class Point:
    """A row of NAME.loss.csv: what had been spent, the running mean of the loss, and the depth then."""

    flops: float
    loss: float
    depth: int


def read_log(file: Path) -> list[Point]:
    """The rows of a log, in order. Raises SettingsError for another file."""
    try:
        with file.open(encoding="utf-8") as lines:
            return [Point(float(row["flops"]), float(row["loss"]), int(row["depth"])) for row in csv.DictReader(lines)]
    except (ValueError, KeyError, TypeError, csv.Error) as error:
        raise SettingsError(f"{file} is not a log of tools.home.train ({error!r})") from None


def boundaries(points: list[Point]) -> list[Point]:
    """The first point of each depth but the first."""
    return [after for before, after in itertools.pairwise(points) if before.depth != after.depth]


def main(
    build: Annotated[Path, typer.Option(help="folder of tools.home.train")],
    out: Annotated[Path, typer.Option(help="PNG to write")],
    plain: Annotated[Optional[Path], typer.Option(help="folder of a run with --recipe plain, to compare with")] = None,
) -> None:
    """Draw target and draft, or the targets of two runs."""
    figure, axes = plt.subplots(figsize=(8, 4.5))
    _draw(axes, build / "target.loss.csv", "target" if plain is None else "staged")
    if plain is None:
        _draw(axes, build / "draft.loss.csv", "draft (divergence from the target)")
    else:
        _draw(axes, plain / "target.loss.csv", "plain")
    axes.set(
        xlabel="compute, petaflops",
        ylabel="loss at the answers, nats per token (running mean)",
        yscale="log",
        title="Training of the built-in pair"
        if plain is None
        else "The target in stages, and plainly, on the same data",
    )
    axes.grid(visible=True, which="both", alpha=0.3)
    axes.legend()
    figure.tight_layout()
    figure.savefig(out, dpi=110)


def _draw(axes: Any, file: Path, label: str) -> None:
    points = read_log(file)
    (line,) = axes.plot([p.flops / 1e15 for p in points], [p.loss for p in points], label=label)
    for point in boundaries(points):
        axes.axvline(point.flops / 1e15, color=line.get_color(), linestyle=":")
        axes.annotate(
            f"{point.depth} layers", (point.flops / 1e15, point.loss), xytext=(4, 12), textcoords="offset points"
        )


if __name__ == "__main__":
    loaded()
    run("tools.home.training.plot_loss", main)
