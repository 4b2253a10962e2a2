"""The picture of a plan: the bits of each layer, and acceptance against size beside drafts that have as many bits everywhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

_LOST = 1e-6  # nats: what loses less is drawn there, on a logarithmic scale


def draw(
    bits: Sequence[int],
    sensitivity: Sequence[Mapping[int, float]],
    drafts: Mapping[str, tuple[float, float]],
    out: Path,
) -> None:
    """Save the picture to `out`, in a folder that is there.

    `bits` are those of each layer, 0 for one that is left out; `sensitivity` has for each layer the divergence in nats by bits; `drafts` have
    megabytes and acceptance by their names.
    """
    from matplotlib import pyplot as plt  # no other benchmark should wait for it

    figure, (chosen, lost, sizes) = plt.subplots(3, 1, figsize=(9, 10))
    layers = range(len(bits))
    chosen.bar(layers, bits, color="tab:blue")
    chosen.set(ylabel="bits, as planned", xlabel="layer", yticks=[0, 2, 4, 8])
    for each in sorted(sensitivity[0], reverse=True):
        values = [max(_LOST, losses[each]) for losses in sensitivity]
        lost.plot(layers, values, label=f"{each} bits" if each else "left out")
    lost.set(ylabel="divergence, nats, of that layer alone", xlabel="layer", yscale="log")
    lost.legend(ncols=len(sensitivity[0]), frameon=False, loc="upper center")
    for name, (size, acceptance) in drafts.items():
        sizes.scatter([size], [acceptance], color="tab:red" if name == "plan" else "tab:blue")
        place = (-30, 4) if name == "plan" else (6, -4)  # it may lie on one with as many bits everywhere
        sizes.annotate(name, (size, acceptance), textcoords="offset points", xytext=place)
    sizes.set(xlabel="MB", ylabel="acceptance", xscale="log")
    for axes in (chosen, lost, sizes):
        axes.grid(visible=True, alpha=0.3)
    figure.tight_layout()
    figure.savefig(out, dpi=100)
    plt.close(figure)
