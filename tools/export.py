"""Exports a checkpoint to a draft graph.

python -m tools.export CHECKPOINT_FOLDER OUT.onnx [--bits 4] [--head 12288 --text FILE]
"""

from __future__ import annotations

from shared.loading import begin_loading, loaded

if __name__ == "__main__":
    begin_loading()

import contextlib
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from hub.export.export import export_draft
from hub.export.head import frequent_ids
from hub.export.tracing import ExportError
from shared.program import run


def main(
    checkpoint: Annotated[Path, typer.Argument(exists=True, file_okay=False, help="folder of the checkpoint")],
    out: Annotated[Path, typer.Argument(dir_okay=False, help="the ONNX file to write")],
    context: Annotated[int | None, typer.Option(min=64, help="positions, if fewer than the model has")] = None,
    bits: Annotated[int | None, typer.Option(help="4 or 8 for weights in int4 or int8; float32 by default")] = None,
    head: Annotated[int | None, typer.Option(min=2, help="ids that it drafts: the most frequent in --text")] = None,
    text: Annotated[
        list[Path] | None, typer.Option(exists=True, dir_okay=False, help="text such as devices see, for --head")
    ] = None,
) -> None:
    """Export a dense causal LM to a draft graph."""
    difference = export_draft(checkpoint, out, context, bits, _head_ids(checkpoint, head, text or []))
    typer.echo(
        f"{out}: {out.stat().st_size / 1e6:.2f} MB, logits within {difference.largest:.1e} of transformers' "
        f"({difference.relative:.1e} of their spread, root mean square)"
    )


def _head_ids(checkpoint: Path, count: int | None, texts: Sequence[Path]) -> list[int] | None:
    if (count is None) != (not texts):
        raise ExportError("--head and --text go together: the ids of a short head are those that the text has most of")
    if count is None:
        return None
    with contextlib.ExitStack() as files:
        lines = itertools.chain(*(files.enter_context(path.open(encoding="utf-8", errors="replace")) for path in texts))
        try:
            return frequent_ids(checkpoint, lines, count)
        except ValueError as error:
            raise ExportError(str(error)) from None


if __name__ == "__main__":
    loaded()
    run("tools.export", main, RuntimeError)  # torch and ONNX Runtime say so what they can not do
