"""Pictures of `capacity`: throughput and latency over sessions, and what speculation gains over acceptance and block length.

by_sessions      [{"sessions", "stream_tokens_per_s", "speculate_tokens_per_s", "ratio"}], acceptance 0.8, length as advised
by_acceptance    [{"acceptance", "length", "ratio"}], eight sessions; length null is as advised
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tools.bench.capacity import described
from tools.bench.report import progress, show, show_rows
from tools.bench.site import Rig, Site
from tools.rig.fleet import Drafting

_SESSIONS = (1, 2, 4, 8, 16, 32, 64)
_ACCEPTANCE = 0.8
_ACCEPTANCES = (0.4, 0.6, 0.8, 0.9)
_LENGTHS = (1, 2, 4, 8, None)
_EIGHT = 8


def run(rig: Rig, out: Path, as_json: bool) -> None:
    """Measure, print tables and save the picture to `out`."""

    def measure(site: Site) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        with progress() as bars:
            by_sessions = [_over_sessions(site, n) for n in bars.track(_SESSIONS, description="over sessions")]
            site.hold(_EIGHT)
            by_acceptance: list[dict[str, Any]] = []
            for acceptance in bars.track(_ACCEPTANCES, description="over acceptance and length"):
                by_acceptance += _over_lengths(site, acceptance)
        return by_sessions, by_acceptance

    by_sessions, by_acceptance = rig.at_site(measure)
    show_rows("over sessions", list(by_sessions[0]), [list(row.values()) for row in by_sessions])
    show_rows("eight sessions", list(by_acceptance[0]), [list(row.values()) for row in by_acceptance])
    _draw(
        f"Shape {rig.shape}, {described(rig)['device']}, {rig.dtype}, weights {rig.weights.value}",
        by_sessions,
        by_acceptance,
        out,
    )
    figures = {**described(rig), "picture": str(out)}
    show("curves", figures, as_json, {"by_sessions": by_sessions, "by_acceptance": by_acceptance})


def _over_sessions(site: Site, sessions: int) -> dict[str, Any]:
    site.hold(sessions)
    stream, speculation = site.measure(None), site.measure(Drafting(_ACCEPTANCE))
    return {
        "sessions": sessions,
        "stream_tokens_per_s": round(stream.tokens_per_s, 1),
        "speculate_tokens_per_s": round(speculation.tokens_per_s, 1),
        "ratio": round(speculation.tokens_per_s / stream.tokens_per_s, 2),
    }


def _over_lengths(site: Site, acceptance: float) -> list[dict[str, Any]]:
    stream = site.measure(None).tokens_per_s
    return [
        {
            "acceptance": acceptance,
            "length": length,
            "ratio": round(site.measure(Drafting(acceptance, length)).tokens_per_s / stream, 2),
        }
        for length in _LENGTHS
    ]


def _draw(
    title: str, by_sessions: Sequence[dict[str, Any]], by_acceptance: Sequence[dict[str, Any]], out: Path
) -> None:
    from matplotlib import pyplot as plt  # no other benchmark should wait for it
    from matplotlib.ticker import LogLocator, StrMethodFormatter

    figure, (throughput, latency, gain) = plt.subplots(1, 3, figsize=(13, 4))
    counts = [row["sessions"] for row in by_sessions]
    for mode, color in (("stream", "tab:gray"), ("speculate", "tab:blue")):
        rates = [row[f"{mode}_tokens_per_s"] for row in by_sessions]
        throughput.plot(counts, rates, "o-", color=color, label=mode)
        latency.plot(
            counts, [1e3 * n / rate for n, rate in zip(counts, rates, strict=True)], "o-", color=color, label=mode
        )
    throughput.set(xscale="log", ylabel="tokens per second, all sessions", ylim=0, title="Throughput")
    latency.set(xscale="log", yscale="log", ylabel="ms per token of a session", title="Latency")
    latency.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    latency.yaxis.set_major_formatter(StrMethodFormatter("{x:.0f}"))
    for axes in (throughput, latency):
        axes.set(xlabel=f"sessions (acceptance {_ACCEPTANCE})", xticks=counts)
        axes.set_xticklabels(counts)
        axes.minorticks_off()
        axes.legend()
    places = range(len(_LENGTHS))
    for acceptance in _ACCEPTANCES:
        ratios = [row["ratio"] for row in by_acceptance if row["acceptance"] == acceptance]
        (line,) = gain.plot(places[:-1], ratios[:-1], "o-", label=f"acceptance {acceptance}")
        gain.plot(places[-1], ratios[-1], "o", color=line.get_color())
    gain.axhline(1, color="tab:gray", linestyle=":")
    gain.set(xlabel="block length", ylabel="tokens per second over streaming's", title=f"{_EIGHT} sessions", ylim=0)
    gain.set_xticks(places, ["as advised" if length is None else str(length) for length in _LENGTHS])
    gain.legend()
    for axes in (throughput, latency, gain):
        axes.grid(visible=True, alpha=0.3)
    figure.suptitle(title)
    figure.tight_layout()
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, dpi=110)
