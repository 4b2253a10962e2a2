"""A hub on a CPU beside llama.cpp on the same machine: the same weights in as many bits, the same numbers of sessions, in turn.

llama.cpp decodes one token of each sequence at a time, behind a prompt of 128 ids that they share; its K/V are float16. A hub's sessions have prompts
of their own, and reach it over a broker. Sessions stream, or speculate with drafts that are right so often as is set.

    stream_over_llama    by sessions: tokens per second streaming over llama.cpp's with as many bits, the least of the three formats
    speculate_over_llama_best   by sessions: the fastest format speculating over llama.cpp's fastest
    stream_over_llama_by_format, stream_tokens_per_s, speculate_tokens_per_s, llama_tokens_per_s   by format, by sessions; medians over the rounds
    llama_prefill_tokens_per_s   by format, where llama-batched-bench tells
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import torch

from hub.settings import Weights
from shared.errors import SettingsError
from tools.bench.llama import Peer, find_peer, write_gguf
from tools.bench.report import progress, show, show_rows
from tools.bench.site import PROMPT, Rig, Site
from tools.rig.fleet import Drafting

SESSIONS = (1, 8, 32)
_STEPS = 16  # tokens of each sequence that llama.cpp decodes
_ROUNDS = 6  # of each session at least
_FILES = Path("build/peers")
_DTYPE = "bfloat16"  # of the checkpoint that all formats are made of


@dataclass(frozen=True)
class Format:
    """Weights in so many bits: how a hub is told, and what llama.cpp calls it."""

    name: str
    bits: int
    weights: Weights


FORMATS = (Format("BF16", 16, Weights.AUTO), Format("Q8_0", 8, Weights.INT8), Format("Q4_0", 4, Weights.INT4))


@dataclass
class Measured:
    """Tokens per second of all sessions together, by number of sessions, one for each round."""

    stream: dict[int, list[float]] = field(default_factory=dict)
    speculate: dict[int, list[float]] = field(default_factory=dict)
    llama: dict[int, list[float]] = field(default_factory=dict)
    llama_prefill: list[float] = field(default_factory=list)


def run(shape: str, drafting: Drafting, rounds: int, seconds: float, out: Path, as_json: bool) -> None:
    """Measure, print a table and save the picture to `out`. Raises SettingsError where llama.cpp is not there."""
    peer = find_peer()
    if not out.parent.is_dir():
        raise SettingsError(f"there is no folder {out.parent}; choose another --out")
    measured = {each.name: _measure(shape, each, peer, drafting, rounds, seconds) for each in FORMATS}
    figures = summed_up(measured)
    show_rows(
        f"tokens per second, {shape}",
        ("format", "sessions", "llama.cpp", "streaming", "ratio", "speculating", "ratio"),
        _rows(measured),
    )
    facts: dict[str, Any] = {
        "shape": shape,
        "device": f"{os.cpu_count()} CPU cores, torch with {torch.get_num_threads()} threads",
    }
    facts |= {"acceptance": drafting.acceptance, "llama": peer.name, "picture": str(out)}
    _draw(f"Shape {shape}, {os.cpu_count()} CPU cores, acceptance {drafting.acceptance}", measured, out)
    show("beside llama.cpp", facts | figures, as_json)


def summed_up(measured: dict[str, Measured]) -> dict[str, Any]:
    """The figures of all formats."""
    ratios = {
        name: {n: median(each.stream[n]) / median(each.llama[n]) for n in each.stream}
        for name, each in measured.items()
    }
    counts = list(next(iter(ratios.values())))
    best = {
        n: max(median(each.speculate[n]) for each in measured.values())
        / max(median(each.llama[n]) for each in measured.values())
        for n in counts
    }
    return {
        "stream_over_llama": _rounded({n: min(row[n] for row in ratios.values()) for n in counts}),
        "speculate_over_llama_best": _rounded(best),
        "stream_over_llama_by_format": {name: _rounded(row) for name, row in ratios.items()},
        "stream_tokens_per_s": {name: _medians(each.stream) for name, each in measured.items()},
        "speculate_tokens_per_s": {name: _medians(each.speculate) for name, each in measured.items()},
        "llama_tokens_per_s": {name: _medians(each.llama) for name, each in measured.items()},
        "llama_prefill_tokens_per_s": {
            name: round(median(each.llama_prefill), 1) for name, each in measured.items() if each.llama_prefill
        },
    }


def _measure(shape: str, each: Format, peer: Peer, drafting: Drafting, rounds: int, seconds: float) -> Measured:
    rig = Rig(shape, _DTYPE, each.weights, "cpu", "broker", seconds)
    path = _FILES / f"{shape}-{each.name}.gguf"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".part")
        write_gguf(Path(rig.pair.target), each.bits, partial)
        partial.replace(path)
    found = Measured()

    def take_turns(site: Site) -> None:
        with progress() as bars:
            turns = [sessions for _ in range(rounds) for sessions in SESSIONS]
            for sessions in bars.track(turns, description=f"{each.name}: hub and llama.cpp, in turn"):
                site.hold(sessions)
                found.stream.setdefault(sessions, []).append(site.measure(None, _ROUNDS).tokens_per_s)
                found.speculate.setdefault(sessions, []).append(site.measure(drafting, _ROUNDS).tokens_per_s)
                rates = peer.rates(path, sessions, PROMPT, _STEPS)
                found.llama.setdefault(sessions, []).append(rates.decoded_per_s)
                found.llama_prefill.append(rates.prefilled_per_s)

    rig.at_site(take_turns)
    return found


def _rows(measured: dict[str, Measured]) -> list[Sequence[object]]:
    rows: list[Sequence[object]] = []
    for name, each in measured.items():
        for sessions in each.stream:
            llama, stream = median(each.llama[sessions]), median(each.stream[sessions])
            speculate = median(each.speculate[sessions])
            ratios = f"{stream / llama:.2f}", f"{speculate / llama:.2f}"
            rows.append((name, sessions, f"{llama:.1f}", f"{stream:.1f}", ratios[0], f"{speculate:.1f}", ratios[1]))
    return rows


def _medians(values: dict[int, list[float]]) -> dict[str, float]:
    return {str(n): round(median(each), 2) for n, each in values.items()}


def _rounded(values: dict[int, float]) -> dict[str, float]:
    return {str(n): round(value, 3) for n, value in values.items()}


def _draw(title: str, measured: dict[str, Measured], out: Path) -> None:
    from matplotlib import pyplot as plt  # no other benchmark should wait for it

    figure, panels = plt.subplots(1, len(measured), figsize=(13, 4), sharey=True)
    for axes, (name, each) in zip(panels, measured.items(), strict=True):
        lines = (
            ("llama.cpp", each.llama, "tab:orange"),
            ("hub, streaming", each.stream, "tab:gray"),
            ("hub, speculating", each.speculate, "tab:blue"),
        )
        counts = list(each.stream)
        for label, rates, color in lines:
            axes.plot(counts, [median(rates[n]) for n in counts], "o-", color=color, label=label)
        axes.set(xscale="log", yscale="log", xlabel="sessions", title=name, xticks=counts)
        axes.set_xticklabels(counts)
        axes.minorticks_off()
        axes.grid(visible=True, alpha=0.3)
    panels[0].set_ylabel("tokens per second, all sessions")
    panels[0].legend()
    ticks = (5, 10, 20, 50, 100, 200)
    panels[0].set_yticks(ticks, [str(tick) for tick in ticks])
    figure.suptitle(title)
    figure.tight_layout()
    figure.savefig(out, dpi=110)
