"""The command line of the benchmarks."""

from __future__ import annotations

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
def _pair(requests: Requests = 1000, as_json: Json = False, pair_name: PairName = "home") -> None:
    """How often the pair's calls are right on names never seen, and how much of a draft is accepted."""
    pair.run(requests, pair_name, as_json)


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
