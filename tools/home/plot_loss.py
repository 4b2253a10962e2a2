"""Plots what `tools.home.train` logged: `python -m tools.home.plot_loss --build build/home --out docs/home-loss.png`."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Annotated

import typer
from matplotlib import pyplot as plt


def main(
    build: Annotated[Path, typer.Option(help="folder of tools.home.train")],
    out: Annotated[Path, typer.Option(help="PNG to write")],
) -> None:
    """Draw the loss on answers over training tokens, of target and draft."""
    figure, axes = plt.subplots(figsize=(8, 4.5))
    for which in ("target", "draft"):
        with (build / f"{which}.loss.csv").open() as file:
            points = [(float(tokens), float(loss)) for tokens, loss in csv.reader(file)]
        axes.plot([tokens / 1e6 for tokens, _ in points], [loss for _, loss in points], label=which)
    axes.set(
        xlabel="training tokens, million (padding included)",
        ylabel="loss on the answers, nats per token (running mean)",
        yscale="log",
        title="Training of the built-in pair",
    )
    axes.grid(visible=True, which="both", alpha=0.3)
    axes.legend()
    figure.tight_layout()
    figure.savefig(out, dpi=110)


if __name__ == "__main__":
    typer.run(main)
