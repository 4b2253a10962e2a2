"""What a person sees of a pair in the making, and of one that was checked."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from shared.pair import load_pair
from shared.streams import note, put_json, put_line

if TYPE_CHECKING:
    from hub.pairing.check import Checked
    from hub.pairing.making import Figures


class _Shown:
    """Steps as lines, and bars where there is a terminal. See `hub.pairing.progress.Progress`."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars

    def say(self, what: str) -> None:
        """See `Progress`."""
        for task in self._bars.task_ids:
            self._bars.remove_task(task)
        note(what)

    def of(self, what: str, total: int) -> Callable[[int], None]:
        """See `Progress`."""
        self.say(what)
        task = self._bars.add_task(what, total=total)
        return lambda done: self._bars.advance(task, done)


@contextmanager
def shown() -> Iterator[_Shown]:
    """Show what is told on standard error while the block runs."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:3.0f} %"),
        TimeRemainingColumn(),
    )
    bars = Progress(
        *columns, console=Console(stderr=True), refresh_per_second=2, transient=True, disable=not sys.stderr.isatty()
    )
    with bars:
        yield _Shown(bars)


def put_made(out: Path, figures: Figures | None, *, as_json: bool) -> None:
    """Say what was made, and what to run."""
    if as_json:
        measured: dict[str, Any] = {} if figures is None else vars(figures)
        put_json({"pair": str(out), **measured})
        return
    if figures is None:
        put_line(f"{out} is made, without a draft: devices guess from the text itself, or stream")
    else:
        put_line(
            f"{out} is made: its draft says {figures.acceptance:.0%} of {figures.compared} tokens as the target does, at "
            f"{figures.tokens_per_s:.0f} tokens/s on this machine"
        )
    where = shlex.quote(str(out) if out.is_absolute() else f"./{out}")
    put_line("to serve it:    " + f"sled-hub serve --pair {where}")
    put_line(f"to chat here:   sled-node chat --pair {where}")
    name = load_pair(str(out.resolve())).name
    put_line(f"on a device:    sled-node pull --pair {name}, and then sled-node chat --pair {name}")


def put_distilled(out: Path, figures: Any, *, as_json: bool) -> None:
    """Say what a student has learned; `figures` are a `Distilled`."""
    if as_json:
        put_json({"draft": str(out), **vars(figures)})
        return
    put_line(
        f"{out} is made: {figures.parameters / 1e6:.0f} million weights in {len(figures.layers)} layers, which say {figures.acceptance:.0%} of "
        f"{figures.compared} tokens as the target does, and {figures.acceptance_untrained:.0%} before they were trained"
    )


def put_planned(folder: Path, made: Any, *, as_json: bool) -> None:
    """Say what a plan came to; `made` is a `Made`."""
    if as_json:
        put_json({"pair": str(folder), **asdict(made)})
        return
    plan = made.plan
    counts = {bits: plan.bits.count(bits) for bits in sorted(set(plan.bits), reverse=True)}
    layers = ", ".join(f"{count} {f'in {bits} bits' if bits else 'left out'}" for bits, count in counts.items())
    head = "" if plan.vocabulary.ids is None else f", a head of {plan.vocabulary.ids} ids"
    put_line(f"{made.name}: layers {layers}; head and embedding in {plan.vocabulary.bits} bits{head}")
    put_line(
        f"{made.bytes / 1e6:.0f} MB, {made.bytes / made.float16_bytes:.0%} of float16; says {made.acceptance:.1%} of {made.compared} tokens as the "
        f"target does ({made.whole_acceptance:.1%} with all its bits); expected on {made.name}: {plan.tokens_per_s:.0f} tokens/s"
    )
    put_line(
        f"the pair has it as its draft {made.name!r}; a hub that serves the pair offers it once it is started again"
    )


def put_checked(found: Checked, *, as_json: bool) -> None:
    """Say what a check found."""
    if as_json:
        put_json(vars(found))
        return
    put_line(
        f"{found.pair} is whole: target {found.target} in {found.dtype}, context {found.context}, {'exact' if found.exact else 'not exact to the bit'}"
    )
    for name, context in found.drafts.items():
        put_line(f"draft {name}: {context} positions")
