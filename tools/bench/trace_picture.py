"""The picture of a trace: an answer as it went to and fro, and the parts of a round, stacked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from tools.trace.clocks import Alignment
from tools.trace.records import Committed, Drafted, Forward, Heard, Published, Received, Sent, Trace, of_kind
from tools.trace.rounds import Kind, Part, Round
from tools.trace.table import by_kind

_SHOWN = 7  # rounds of the answer that is drawn, at most
_NODE, _HUB = 1.0, 0.0  # heights of the two sides
_HEIGHT = 0.3
_MS = 1e6  # nanoseconds


def draw(node: Trace, hub: Trace, clock: Alignment, rounds: Sequence[Round], out: Path) -> None:
    """Save the picture to `out`, in a folder that is there. Some of the rounds must have drafted tokens."""
    from matplotlib import pyplot as plt  # no other benchmark should wait for it

    figure, (line, bars) = plt.subplots(2, 1, figsize=(11, 6.5), height_ratios=(3, 2))
    _answer(line, node, hub, clock.offset, _one_answer(rounds))
    _parts(bars, rounds)
    figure.tight_layout()
    figure.savefig(out, dpi=100)
    plt.close(figure)


def _one_answer(rounds: Sequence[Round]) -> Sequence[Round]:
    """The first rounds with drafted tokens of the answer that has most of them."""
    begins = [place for place, each in enumerate(rounds) if each.kind is Kind.PROMPT] or [0]
    answers = [rounds[begin:end] for begin, end in zip(begins, [*begins[1:], len(rounds)], strict=True)]
    drafted = ([each for each in answer if each.kind is Kind.DRAFTED] for answer in answers)
    return max(drafted, key=len)[:_SHOWN]


def _answer(axes: Any, node: Trace, hub: Trace, offset: int, answer: Sequence[Round]) -> None:
    begin, end = answer[0].began, answer[-1].committed.ended

    def bar(height: float, began: int, ended: int, color: str, label: str) -> None:
        if began >= begin and ended <= end:
            axes.barh(
                height, (ended - began) / _MS, left=(began - begin) / _MS, height=_HEIGHT, color=color, label=label
            )

    for piece in of_kind(node, Drafted):
        bar(_NODE, piece.began, piece.ended, "tab:blue", "drafting")
    for began, committed in _commits(node):
        bar(_NODE, began, committed.ended, "tab:green", "commit")
    for forward in of_kind(hub, Forward):
        bar(_HUB, forward.began - offset, forward.ended - offset, "tab:red", "forward")
    below, above = _NODE - _HEIGHT / 2, _HUB + _HEIGHT / 2
    for ways, heights, color, label in (
        (_drafts(node, hub, offset), (below, above), "tab:purple", "draft"),
        (_verdicts(node, hub, offset), (above, below), "tab:orange", "verdict"),
    ):
        for left, came in ways:
            if left >= begin and came <= end:
                axes.plot(
                    [(left - begin) / _MS, (came - begin) / _MS], heights, color=color, label=label, linewidth=1.2
                )
    axes.set(
        yticks=[_HUB, _NODE],
        yticklabels=["hub", "node"],
        xlabel="ms, by one clock",
        xlim=(0, (end - begin) / _MS),
    )
    handles, labels = axes.get_legend_handles_labels()
    known = dict(zip(labels, handles, strict=True))
    axes.legend(known.values(), known.keys(), loc="lower right", bbox_to_anchor=(1, 1), ncols=len(known), frameon=False)


def _drafts(node: Trace, hub: Trace, offset: int) -> Iterator[tuple[int, int]]:
    """When drafts left the node and came to the hub, by the node's clock."""
    came = {(each.session, each.round): each.came - offset for each in of_kind(hub, Received)}
    for each in of_kind(node, Sent):
        if (each.session, each.round) in came:
            yield each.began, came[each.session, each.round]


def _verdicts(node: Trace, hub: Trace, offset: int) -> Iterator[tuple[int, int]]:
    """When verdicts left the hub and came to the node, by the node's clock."""
    left = {
        (each.session, each.round, each.base): each.began - offset
        for each in of_kind(hub, Published)
        if each.message == "Verdict"
    }
    for each in of_kind(node, Heard):
        if each.message == "Verdict" and (each.session, each.round, each.base) in left:
            yield left[each.session, each.round, each.base], each.came


def _commits(node: Trace) -> Iterator[tuple[int, Committed]]:
    """Commits, with when their verdict was taken out of the queue."""
    taken = {(each.session, each.round, each.base): each.taken for each in of_kind(node, Heard)}
    for each in of_kind(node, Committed):
        yield taken[each.session, each.round, each.base], each


def _parts(axes: Any, rounds: Sequence[Round]) -> None:
    """A bar for each kind of round: the means of its parts, one behind the other."""
    kinds = by_kind(rounds)
    colors = [
        "tab:blue",
        "tab:cyan",
        "tab:purple",
        "silver",
        "tab:gray",
        "tab:red",
        "tab:pink",
        "tab:orange",
        "tab:green",
    ]
    left = [0.0] * len(kinds)
    for part, color in zip(Part, colors, strict=True):
        means = [fmean(each.parts[part] for each in found) / _MS for found in kinds.values()]
        axes.barh(range(len(kinds)), means, left=left, height=0.6, color=color, label=part.value)
        left = [at + mean for at, mean in zip(left, means, strict=True)]
    names = [f"{kind.value} ({len(found)})" for kind, found in kinds.items()]
    axes.set(yticks=range(len(kinds)), yticklabels=names, xlabel="ms of a round, on average")
    axes.invert_yaxis()
    axes.legend(
        loc="lower right", bbox_to_anchor=(1, 1), ncols=len(colors), frameon=False, columnspacing=0.8, handlelength=1
    )
