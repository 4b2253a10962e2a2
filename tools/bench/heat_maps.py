"""The picture of `latency`: for every mode and acceptance a map over the round trip and the time of a drafted token."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from pathlib import Path

from tools.bench.contest import MODES, Cell

RTTS, DRAFTS, ACCEPTANCES = (0, 20, 50, 100, 200), (5, 15, 40, 120), (0.4, 0.6, 0.8, 0.9)  # ms, ms, a chance


def draw(cells: Sequence[Cell], out: Path) -> None:
    """Heat maps of the ratio to streaming: a row for each mode, a column for each acceptance."""
    import matplotlib as mpl  # no other benchmark should wait for it
    from matplotlib import pyplot as plt

    mpl.use("Agg")
    modes = [mode for mode in MODES if mode != "stream"]
    figure, axes = plt.subplots(
        len(modes), len(ACCEPTANCES), figsize=(13, 11), sharex=True, sharey=True, layout="constrained"
    )
    picture = None
    for (row, mode), (column, acceptance) in product(enumerate(modes), enumerate(ACCEPTANCES)):
        ratios = {
            (c.draft_ms, c.rtt_ms): c.ratio
            for c in cells
            if c.pair != "home" and (c.mode, c.acceptance) == (mode, acceptance)
        }
        grid = [[ratios.get((draft, rtt), float("nan")) for rtt in RTTS] for draft in DRAFTS]
        axis = axes[row][column]
        picture = axis.imshow(grid, vmin=0.3, vmax=1.7, cmap="RdYlGn_r", aspect="auto", origin="lower")
        for (x, rtt), (y, draft) in product(enumerate(RTTS), enumerate(DRAFTS)):
            if (draft, rtt) in ratios:
                axis.text(x, y, f"{ratios[draft, rtt]:.2f}", ha="center", va="center", fontsize=9)
        axis.set_xticks(range(len(RTTS)), list(map(str, RTTS)))
        axis.set_yticks(range(len(DRAFTS)), list(map(str, DRAFTS)))
        if row == 0:
            axis.set_title(f"acceptance {acceptance}")
        if column == 0:
            axis.set_ylabel(f"{mode}\nms for a drafted token")
        if row == len(modes) - 1:
            axis.set_xlabel("round trip, ms")
    figure.suptitle("ms per token over streaming's, target of 1.1 B parameters (empty: not measured)")
    if picture is not None:
        figure.colorbar(picture, ax=axes, shrink=0.5)
    figure.savefig(out, dpi=80)
    plt.close(figure)
