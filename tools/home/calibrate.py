"""Measures how sure the pair can be of its calls, and writes it into the pair's manifest.

    python -m tools.home.calibrate shared/pairs/home

Through a broker and a hub it asks what training never drew: requests in familiar and in new phrasings, with and without a list of
the home, and requests that must change nothing. From the target's probability of each answer's calls it fits the chance that
they are right (Platt scaling). Below a confidence c a question is cheaper
than the act: what is asked in vain costs 1 with the chance c, what is done wrongly costs the price with the chance 1 - c.
What calls may name under a list of the home goes into the manifest too, as listed.toml has it.
"""

from __future__ import annotations

from shared.loading import begin_loading, loaded

if __name__ == "__main__":
    begin_loading()

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tomllib
import typer
from rich.console import Console

from hub.pairing.manifest import write_manifest, written_of
from shared.confidence import Confidence
from shared.errors import PairError
from shared.home_list import HomeList
from shared.pair import load_pair
from shared.program import run
from tools.bench.asking import NODES, AskedRequest, ask_all, asking, drawn
from tools.bench.confusion import right
from tools.bench.trust import must_change_nothing
from tools.home.data.invent import HELD_OUT, KINDS_OF_DEVICES, NEW_PHRASING, heads
from tools.rig.testbed import running_hub

_SEED = 20_261_128  # not that of the benches
_ASKS = Path(__file__).parent / "data" / "asks.toml"
_LISTED = Path(__file__).parent / "data" / "listed.toml"
_DENIALS = (
    "don't", "dont", "not", "never", "no", "nope", "nah", "none", "nobody", "won't", "mustn't", "shouldn't", "needn't", "wouldn't", "cannot",
    "can't", "refuse", "refrain", "decline", "forbid", "forbidden", "prohibited", "deny", "reject", "avoid", "prevent", "resist", "unless", "wrong", "unwise", "mistake", "last thing",
)  # fmt: skip
_NOT_DENIALS = (
    "never mind", "don't mind", "why don't", "why not", "can't you", "won't you", "don't forget", "or not", "if not", "not only", "no longer", "no more", "no problem",
)  # fmt: skip
_STEPS = 50  # of Newton's method
_console = Console(stderr=True)


def told_by(asked: AskedRequest) -> tuple[float, ...] | None:
    """1 and ln(P / (1 - P)) with P the target's probability of the answer's calls, which its confidence has to be; None without calls that could be made."""
    answer = asked.answer
    if answer.confidence is None or answer.doubt.lacks:
        return None
    log_odds = float(np.log(answer.confidence / max(1 - answer.confidence, 1e-12)))
    return 1.0, log_odds


def fitted(inputs: np.ndarray, is_right: np.ndarray) -> np.ndarray:
    """The weights [k] of the most likely logistic curve through answers [n, k], by Newton's method."""
    weights = np.zeros(inputs.shape[1])
    for _ in range(_STEPS):
        chance = 1 / (1 + np.exp(-inputs @ weights))
        slopes = inputs.T @ (is_right - chance) - 1e-3 * weights
        curve = (inputs * (chance * (1 - chance))[:, None]).T @ inputs + 1e-3 * np.eye(len(weights))
        weights = weights + np.linalg.solve(curve, slopes)
    return weights


def calibrate(
    pair: Annotated[str, typer.Argument(help="name or folder")] = "home",
    requests: Annotated[int, typer.Option(min=20, help="of each kind; half as many under a list of the home")] = 600,
    price: Annotated[float, typer.Option(min=0, help="needless questions that are as bad as one wrong act")] = 3.0,
) -> None:
    """Write the table [confidence] of a pair's manifest."""
    asks = tomllib.loads(_ASKS.read_text())
    probed = Confidence(0.0, 1.0, 0.0, asks, denials=_DENIALS, not_denials=_NOT_DENIALS)
    write_confidence(pair, probed)
    listed = [replace(source, homes=1.0) for source in (HELD_OUT, NEW_PHRASING)]
    with running_hub(NODES, pair, ["--threads", "1"]) as bed, asking(bed) as nodes:
        wanted = [
            asked
            for count, sources in ((requests, (HELD_OUT, NEW_PHRASING)), (requests // 2, listed))
            for source in sources
            for asked in ask_all(nodes, drawn(count, source, _SEED), 0.0, "what a home asks")
        ]
        nothing = ask_all(nodes, must_change_nothing(requests, _SEED), 0.0, "what must change nothing")
    told = [(each, its) for each in (*wanted, *nothing) if (its := told_by(each)) is not None]
    inputs = np.array([each for _, each in told])
    is_right = np.array([right(asked.answer.meant, asked.exchange.calls) for asked, _ in told])
    if is_right.all() or not is_right.any():
        raise PairError("all answers with calls are right, or none is: there is nothing to calibrate with")
    offset, slope = (round(float(each), 4) for each in fitted(inputs, is_right))
    bound = round(price / (1 + price), 4)
    write_confidence(pair, replace(probed, offset=offset, slope=slope, ask_below=bound))
    denied = np.array([probed.is_denied(asked.turns[-1].content) for asked, _ in told])
    asked_back = (1 / (1 + np.exp(-inputs @ [offset, slope])) < bound) | denied
    acted = (~asked_back)[len(told) - sum(told_by(each) is not None for each in nothing) :].sum()
    _console.print(
        f"offset {offset}, slope {slope}, asked back below {bound}: of {len(told)} answers with calls {is_right.mean():.3f} are right; asked back about are "
        f"{(asked_back & is_right).sum() / is_right.sum():.3f} of these and {(asked_back & ~is_right).sum() / (~is_right).sum():.3f} of the others; {acted / len(nothing):.3f} of what must change nothing is acted on"
    )


def write_confidence(name: str, confidence: Confidence) -> None:
    """Write it into the manifest of the pair of that name, or in that folder, and what calls may name under a list."""
    pair = load_pair(name)
    written = replace(written_of(pair), confidence=confidence, listed=home_list())
    write_manifest(pair.folder, written, (), pair.sha256)


def home_list() -> HomeList:
    """What the calls of the built-in pair may name under a list of the home: data/listed.toml, and the nouns that tell a kind of device."""
    told: dict[str, Any] = tomllib.loads(_LISTED.read_text())
    nouns = dict.fromkeys(noun for kind in KINDS_OF_DEVICES for noun in heads(kind))
    told.update({key: tuple(value) for key, value in told.items() if isinstance(value, list)})
    return HomeList(kinds=tuple(nouns), **told)


if __name__ == "__main__":
    loaded()
    run("tools.home.calibrate", calibrate, RuntimeError)  # torch and ONNX Runtime say so what they can not do
