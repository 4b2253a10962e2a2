"""A picture of where a robot has been."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tools.robot.robot import PLACES, SOMEBODY


def draw(path: Sequence[tuple[float, float]], out: Path) -> None:
    """Save the path and the places."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 5), layout="constrained")
    axes.plot(*zip(*path, strict=True), color="tab:blue", linewidth=1.5, label="driven")
    for name, (x, y) in {**PLACES, "the dog": SOMEBODY}.items():
        axes.plot(x, y, "o", color="tab:orange")
        axes.annotate(name, (x, y), xytext=(6, 6), textcoords="offset points")
    axes.plot(*path[-1], "s", color="tab:red", label="stopped here")
    axes.set(xlabel="metres", ylabel="metres", title="A simulated robot, driven by what was said to it")
    axes.margins(0.15)
    axes.set_aspect("equal")
    axes.legend(loc="lower left")
    figure.savefig(out, dpi=100)
    plt.close(figure)
