"""Measures how sure the pair can be of its calls, and writes it into the pair's manifest.

    python -m tools.home.calibrate shared/pairs/home

Through a broker and a hub it asks what training never drew: requests in familiar and in new phrasings, with and without a list of
the home, and requests that must change nothing. From the target's probability of each answer's calls it fits the chance that
they are right (Platt scaling), and takes the lowest confidence below which to ask back, so that of the requests that must change
nothing no more than a given share is still acted on.
"""

from __future__ import annotations

from shared.loading import begin_loading, loaded

if __name__ == "__main__":
    begin_loading()

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import tomllib
import typer
from rich.console import Console

from hub.pairing.manifest import write_manifest, written_of
from shared.confidence import Confidence
from shared.errors import PairError
from shared.pair import load_pair
from shared.program import run
from tools.bench.asking import NODES, AskedRequest, ask_all, drawn
from tools.bench.confusion import right
from tools.bench.trust import must_change_nothing
from tools.home.data.invent import HELD_OUT, NEW_PHRASING
from tools.rig.testbed import running_hub

_SEED = 20_261_128  # not that of the benches
_ASKS = Path(__file__).parent / "data" / "asks.toml"
_STEPS = 50  # of Newton's method
_console = Console(stderr=True)


def log_odds(asked: AskedRequest) -> float | None:
    """ln(P / (1 - P)) with P the target's probability of the answer's calls; None for an answer without calls."""
    sure = asked.answer.confidence
    return None if sure is None else float(np.log(sure / max(1 - sure, 1e-12)))


def fitted(odds: np.ndarray, is_right: np.ndarray) -> tuple[float, float]:
    """The offset and the slope [2] of the most likely logistic curve through answers [n], by Newton's method."""
    inputs = np.stack([np.ones_like(odds), odds], axis=1)
    weights = np.array([0.0, 1.0])
    for _ in range(_STEPS):
        chance = 1 / (1 + np.exp(-inputs @ weights))
        slopes = inputs.T @ (is_right - chance) - 1e-3 * weights
        curve = (inputs * (chance * (1 - chance))[:, None]).T @ inputs + 1e-3 * np.eye(2)
        weights = weights + np.linalg.solve(curve, slopes)
    return float(weights[0]), float(weights[1])


def ask_below(sure: np.ndarray, requests: int, share: float) -> float:
    """The lowest confidence above which no more than that share of `requests` is acted on; `sure` [n] is that of those with calls."""
    spared = int(share * requests)
    falling = np.sort(sure)[::-1]
    return 0.0 if len(falling) <= spared else float(min(1.0, np.ceil(1e3 * falling[spared] + 1e-9) / 1e3))


def calibrate(
    pair: Annotated[str, typer.Argument(help="name or folder")] = "home",
    requests: Annotated[int, typer.Option(min=20, help="of each kind; half as many under a list of the home")] = 600,
    wrongly: Annotated[
        float, typer.Option(min=0, max=1, help="share of what must change nothing that may be acted on without asking")
    ] = 0.02,
) -> None:
    """Write the table [confidence] of a pair's manifest."""
    asks = tomllib.loads(_ASKS.read_text())
    _write(pair, Confidence(0.0, 1.0, 0.0, asks))
    listed = [replace(source, homes=1.0) for source in (HELD_OUT, NEW_PHRASING)]
    with running_hub(NODES, pair, ["--threads", "1"]) as bed:
        wanted = [
            asked
            for count, sources in ((requests, (HELD_OUT, NEW_PHRASING)), (requests // 2, listed))
            for source in sources
            for asked in ask_all(bed, drawn(count, source, _SEED), 0.0, "what a home asks")
        ]
        nothing = ask_all(bed, must_change_nothing(requests, _SEED), 0.0, "what must change nothing")
    told = [(each, its) for each in (*wanted, *nothing) if (its := log_odds(each)) is not None]
    odds = np.array([each for _, each in told])
    is_right = np.array([right(asked.answer.text, asked.exchange.calls) for asked, _ in told])
    if is_right.all() or not is_right.any():
        raise PairError("all answers with calls are right, or none is: there is nothing to calibrate with")
    offset, slope = (round(each, 4) for each in fitted(odds, is_right))
    confidence = Confidence(offset, slope, 0.0, asks)
    sure = 1 / (1 + np.exp(-(offset + slope * odds)))
    of_nothing = np.array([chance for (asked, _), chance in zip(told, sure, strict=True) if asked.exchange.kind])
    confidence = replace(confidence, ask_below=ask_below(of_nothing, len(nothing), wrongly))
    _write(pair, confidence)
    asked_back = sure < confidence.ask_below
    _console.print(
        f"offset {offset}, slope {slope}, ask_below {confidence.ask_below}: of {len(told)} answers with calls {is_right.mean():.3f} are right; "
        f"asked back about are {(asked_back & is_right).sum() / is_right.sum():.3f} of these and {(asked_back & ~is_right).sum() / (~is_right).sum():.3f} of the others"
    )


def _write(name: str, confidence: Confidence) -> None:
    pair = load_pair(name)
    write_manifest(pair.folder, replace(written_of(pair), confidence=confidence), (), pair.sha256)


if __name__ == "__main__":
    loaded()
    run("tools.home.calibrate", calibrate, RuntimeError)  # torch and ONNX Runtime say so what they can not do
