"""How long each part of a round takes, as figures and as tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tools.bench.report import quantile
from tools.trace.clocks import Alignment
from tools.trace.records import Sent, Trace, of_kind
from tools.trace.rounds import Kind, Part, Round

ROUND, BESIDE = "round", "drafting beside"
_MS = 1e6  # nanoseconds


@dataclass(frozen=True)
class Lasting:
    """How long a part takes, in milliseconds, and its share of all rounds' time."""

    mean: float
    p50: float
    p95: float
    share: float


def lasting(rounds: Sequence[Round]) -> dict[str, Lasting]:
    """Of rounds of one kind, at least one: each part by its name, then the whole round, then what was drafted while it was under way."""
    whole = [each.length for each in rounds]
    columns = {part.value: [each.parts[part] for each in rounds] for part in Part}
    columns |= {ROUND: whole, BESIDE: [each.beside for each in rounds]}
    return {name: _lasting(values, sum(whole)) for name, values in columns.items()}


def _lasting(values: Sequence[int], whole: int) -> Lasting:
    mean, p50, p95 = fmean(values), quantile(values, 0.5), quantile(values, 0.95)
    return Lasting(
        round(mean / _MS, 3), round(p50 / _MS, 3), round(p95 / _MS, 3), round(sum(values) / max(1, whole), 3)
    )


def by_kind(rounds: Sequence[Round]) -> dict[Kind, list[Round]]:
    """The rounds of each kind of which there are some."""
    kinds = {kind: [each for each in rounds if each.kind is kind] for kind in Kind}
    return {kind: found for kind, found in kinds.items() if found}


def figures(traces: Sequence[Trace], clocks: Sequence[Alignment], rounds: Sequence[Round]) -> dict[str, Any]:
    """All of it for programs; `traces` are those of the nodes and behind them the hub's. Milliseconds, if nothing else is said."""
    *nodes, hub = traces
    return {
        "hub": hub.head.name,
        "cut": [str(trace.path) for trace in traces if trace.cut],
        "clocks": {
            node.head.name: {
                "offset_ms": clock.offset / _MS,
                "uncertainty_ms": clock.uncertainty / _MS,
                "drafts": clock.drafts,
                "verdicts": clock.verdicts,
                "drifted": clock.drifted,
            }
            for node, clock in zip(nodes, clocks, strict=True)
        },
        "sent": sum(_sent(node) for node in nodes),
        "rounds": {
            kind.name.lower(): {"count": len(found)} | {name: vars(each) for name, each in lasting(found).items()}
            for kind, found in by_kind(rounds).items()
        },
    }


def show(console: Console, traces: Sequence[Trace], clocks: Sequence[Alignment], rounds: Sequence[Round]) -> None:
    """Print the same for a person."""
    *nodes, hub = traces
    said = [_clock(node, hub, clock) for node, clock in zip(nodes, clocks, strict=True)]
    said += [f"{trace.path} ends in the middle of a record: its program was killed" for trace in traces if trace.cut]
    said.append(f"{len(rounds)} of {sum(map(_sent, nodes))} rounds were followed to their verdict")
    for line in said:
        console.print(Text(line), soft_wrap=True)
    for kind, found in by_kind(rounds).items():
        console.print(_table(kind, found))


def _sent(node: Trace) -> int:
    return len({(each.session, each.round) for each in of_kind(node, Sent)})


def _clock(node: Trace, hub: Trace, clock: Alignment) -> str:
    way = "behind" if clock.offset > 0 else "ahead of"
    pair = f"the clock of {node.head.name!r} is {abs(clock.offset) / _MS:.3f} ms {way} that of {hub.head.name!r}"
    if clock.drifted:
        return f"{pair}, and they drift: by {2 * clock.uncertainty / _MS:.3f} ms or more; a shorter trace is more exact"
    return (
        f"{pair}, give or take {clock.uncertainty / _MS:.3f} ms ({clock.drafts} drafts, {clock.verdicts} messages back)"
    )


def _table(kind: Kind, rounds: Sequence[Round]) -> Table:
    table = Table("part", title=f"{kind.value}: {len(rounds)} rounds")
    for column in ("mean, ms", "p50, ms", "p95, ms", "share"):
        table.add_column(column, justify="right")
    for name, each in lasting(rounds).items():
        if name == ROUND:
            table.add_section()
        table.add_row(name, f"{each.mean:.3f}", f"{each.p50:.3f}", f"{each.p95:.3f}", f"{each.share:.1%}")
    return table
