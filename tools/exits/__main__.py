"""Trains an exit head for a pair's target and puts it into the pair's folder.

    python -m tools.exits home
    python -m tools.exits path/of/pair --requests requests.txt

Heads behind several layers are trained side by side, the target frozen, towards its distribution at each id of texts that it is
asked to write or writes itself. The one is kept whose blocks of eight tokens are right most often, weighed by the share of the
target that lies behind it.
"""

from __future__ import annotations

from shared.loading import begin_loading, loaded

if __name__ == "__main__":
    begin_loading()

import itertools
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from hub.model.checkpoint import load_checkpoint
from hub.model.device import pick_dtype
from shared.errors import PairError
from shared.pair import MANIFEST, Pair, load_pair
from shared.program import run
from tools.exits.manifest import record
from tools.exits.texts import home_texts, own_texts
from tools.exits.training import BLOCK, Agreement, Heads
from tools.home.training.batches import Batch, Text, grouped

_FILE = "exit.safetensors"
_DEPTHS = (1 / 6, 1 / 3, 1 / 2, 2 / 3, 5 / 6)  # shares of the layers behind which heads are tried
_POOL = 256  # texts that are sorted by length together
_console = Console(stderr=True)


def candidates(depth: int, layer: int | None) -> list[int]:
    """The layers of a target of `depth` to try: the one that is asked for, or some."""
    if layer is None:
        return sorted({round(share * depth) for share in _DEPTHS} - {0, depth})
    if not 1 <= layer < depth:
        raise PairError(f"the target has {depth} layers: exits are possible behind 1 to {depth - 1}")
    return [layer]


def batches(texts: Iterator[Text], batch_ids: int) -> Iterator[Batch]:
    """An endless stream of batches of similar length."""
    rng = random.Random(0)
    while True:
        yield from grouped(itertools.islice(texts, _POOL), batch_ids, rng)


def train(pair: Pair, heads: Heads, learnt: Iterator[Batch], steps: int) -> None:
    """Train with a progress bar."""
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=_console) as progress:
        bar = progress.add_task(f"exits of {pair.name}", total=steps)
        for losses in heads.train(learnt, steps):
            shown = " ".join(f"{h.layer}: {loss:.3f}" for h, loss in zip(heads.heads, losses, strict=True))
            progress.update(bar, advance=1, description=f"KL behind layer {shown}")


def show(agreements: list[Agreement], chosen: Agreement) -> None:
    """Print the table by which the layer was chosen."""
    table = Table("layer", "rest of the target", "ids the same", f"blocks of {BLOCK} the same", "worth", "")
    for each in agreements:
        cells = (f"{value:.3f}" for value in (each.rest, each.tokens, each.blocks, each.worth))
        table.add_row(str(each.layer), *cells, "kept" if each is chosen else "")
    _console.print(table)


def main(
    name: Annotated[str, typer.Argument(help="built-in name or folder of the pair")],
    layer: Annotated[int | None, typer.Option(min=1, help="exit behind this layer; by default the best")] = None,
    steps: Annotated[int, typer.Option(min=1, help="batches to learn from")] = 400,
    batch_ids: Annotated[int, typer.Option(min=256, help="ids of a batch")] = 4096,
    judged: Annotated[int, typer.Option(min=1, help="batches to judge by")] = 30,
    width: Annotated[int, typer.Option(min=1, help="hidden units of a head")] = 384,
    requests: Annotated[Path | None, typer.Option(exists=True, dir_okay=False, help="one request in each line")] = None,
) -> None:
    """Train an exit head for the pair NAME."""
    pair = load_pair(name)
    model: Any = load_checkpoint(pair.verify_target(), dtype=pick_dtype(pair.target_dtype))
    layers = candidates(model.config.num_hidden_layers, layer)
    if pair.name == "home" and requests is None:
        texts, others = home_texts(pair, model.config.max_position_embeddings)
    else:
        texts, others = (own_texts(pair, model, requests, stream) for stream in ("learnt", "judged"))
    torch.manual_seed(0)
    learnt = batches(texts, batch_ids)
    heads = Heads(model, layers, width, next(learnt))
    train(pair, heads, learnt, steps)
    agreements = heads.agreement(itertools.islice(batches(others, batch_ids), judged))
    chosen = max(agreements, key=lambda agreement: agreement.worth)
    show(agreements, chosen)
    path = pair.exit_head or pair.folder / _FILE
    heads.heads[agreements.index(chosen)].save(path)
    record(pair.folder / MANIFEST, path.relative_to(pair.folder).as_posix())
    load_pair(name).verify(path)
    typer.echo(f"{path}: {path.stat().st_size / 1e6:.2f} MB, behind layer {chosen.layer}")


if __name__ == "__main__":
    loaded()
    run("tools.exits", main, RuntimeError)  # torch and ONNX Runtime say so what they can not do
