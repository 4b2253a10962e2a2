"""The command line of the benchmarks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tools.bench import exactness, modes, pair, round_trip

app = typer.Typer(help=__doc__, no_args_is_help=True)
Requests = Annotated[int, typer.Option(min=1, help="how many requests")]
Json = Annotated[bool, typer.Option("--json", help="print one JSON object as the last line")]
PairName = Annotated[str, typer.Option("--pair", help="built-in name or folder of the pair")]


@app.command("exactness")
def _exactness(requests: Requests = 500, as_json: Json = False, pair_name: PairName = "home") -> None:
    """Whether every answer is the target's own, against an oracle that decodes alone."""
    exactness.run(requests, pair_name, as_json)


@app.command("pair")
def _pair(
    requests: Annotated[int, typer.Option(min=1, help="how many requests for each figure")] = 2000,
    as_json: Json = False,
    pair_name: PairName = "home",
    errors: Annotated[Path | None, typer.Option(dir_okay=False, help="file to list the wrong answers in")] = None,
) -> None:
    """How often the pair's calls are right on names never seen, and how much of a draft is accepted.

    target_exact_match and target_exact_match_new_phrasing: calls exactly right at temperature 0, on phrasings that
    training drew and on others. draft_exact_match: the draft alone, on the former.

    acceptance: accepted / (accepted + rejected) of the drafted tokens that the target looked at; committed_per_round:
    ids for each draft sent, in blocks of at most 8.

    acceptance_t08: acceptance at temperature 0.8; best_coupling_t08: the largest that any way of drawing both tokens
    could have there, the mean of 1 - TV(target, draft).

    confusion and slot_errors: which calls, and which arguments of them, are wrong.
    """
    pair.run(requests, pair_name, as_json, errors)


@app.command("round")
def _round(requests: Requests = 60, as_json: Json = False, pair_name: PairName = "home") -> None:
    """What a round costs besides drafting and the target's forward."""
    round_trip.run(requests, pair_name, as_json)


@app.command("modes")
def _modes(requests: Requests = 20, as_json: Json = False, pair_name: PairName = "home") -> None:
    """Speculation against streaming, and streaming against the bare forward."""
    modes.run(requests, pair_name, as_json)


if __name__ == "__main__":
    app()
