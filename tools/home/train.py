"""Trains the built-in pair: tokenizer, target in stages, draft distilled from the target.

    python -m tools.home.train --out build/home
    python -m tools.home.train --out build/compare --recipe plain --no-draft

A run that was stopped goes on from its last checkpoint, and parts that have a result are skipped. Two shared cores
did 0.45 petaflops of the target in an hour, and 0.28 of the draft's, as writing answers is bound by memory.
"""

from __future__ import annotations

from shared.loading import begin_loading, loaded

if __name__ == "__main__":
    begin_loading()

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import torch
import typer
from tokenizers import Tokenizer

from shared.errors import SettingsError
from shared.program import run
from tools.home.data.tokenizer import train_tokenizer
from tools.home.training.batches import texts, training_source
from tools.home.training.distil import distil
from tools.home.training.evaluate import evaluate
from tools.home.training.growth import resized
from tools.home.training.model import CONTEXT, VOCAB_SIZE, home_config, load_model, new_model, save_model
from tools.home.training.recipe import DISTILLATION, DRAFT, DRAFT_DEPTH, EVALUATION_BATCHES, TARGETS, Recipe, again
from tools.home.training.run import Run
from tools.home.training.stages import train_stages

_PETA = 1e15
_TOKENIZER_DIALOGUES = 40_000


def train(
    out: Annotated[Path, typer.Option(help="folder for tokenizer, checkpoints, logs and models")],
    recipe: Annotated[str, typer.Option(help=f"the target's: {' or '.join(TARGETS)}")] = "staged",
    compute: Annotated[
        float, typer.Option(min=1e-6, max=1e6, help="petaflops for the target; the draft gets 8 % more")
    ] = 1.0,
    start: Annotated[Path | None, typer.Option(help="a target that is trained on, instead of one from nothing")] = None,
    draft: Annotated[bool, typer.Option(help="train the draft too")] = True,
    seed: int = 0,
) -> None:
    """Train what is not finished yet under OUT."""
    if recipe not in TARGETS:
        raise SettingsError(f"there is no recipe {recipe!r}; use one of {', '.join(TARGETS)}")
    out.mkdir(parents=True, exist_ok=True)
    tokenizer = _tokenizer(out / "tokenizer.json", seed)
    if not _result(out, "target").exists():
        train_target(TARGETS[recipe], compute * _PETA, tokenizer, out, seed, start)
    if draft and not _result(out, "draft").exists():
        train_draft(DRAFT, compute * _PETA, tokenizer, out, seed)


def train_target(
    recipe: Recipe, compute: float, tokenizer: Tokenizer, out: Path, seed: int, start: Path | None = None
) -> None:
    """Train OUT/target; stages that end before the last are left in OUT/stage-DEPTH. One that is trained on has no stages."""
    torch.manual_seed(seed)
    if start is None:
        model = new_model(home_config(recipe.stages[0].depth, tokenizer))
    else:
        model = load_model(start)
        recipe = again(recipe, model.config.num_hidden_layers)
    with Run("target", out, recipe, compute * recipe.compute, model) as run:
        stream = f"target {seed} from step {run.spent.steps}"
        train_stages(run, texts(tokenizer, training_source(tokenizer), CONTEXT, stream), out)
    _finish(run, tokenizer, out)


def train_draft(recipe: Recipe, compute: float, tokenizer: Tokenizer, out: Path, seed: int) -> None:
    """Train OUT/draft on OUT/target's answers, from the target's first stage or else from its lowest layers."""
    target = load_model(out / "target")
    early = out / f"stage-{DRAFT_DEPTH}"
    start = load_model(early) if early.exists() else resized(target, DRAFT_DEPTH)
    with Run("draft", out, recipe, compute * recipe.compute, start) as run:
        stream = f"draft {seed} from step {run.spent.steps}"
        longest = CONTEXT - DISTILLATION.longest_answer
        distil(run, target, texts(tokenizer, training_source(tokenizer), longest, stream), DISTILLATION)
    _finish(run, tokenizer, out)


def _tokenizer(file: Path, seed: int) -> Tokenizer:
    if not file.exists():
        train_tokenizer(VOCAB_SIZE, _TOKENIZER_DIALOGUES, seed).save(str(file))
    return Tokenizer.from_file(str(file))


def _finish(run: Run, tokenizer: Tokenizer, out: Path) -> None:
    """Save the model, measure it as saved, and write the result that marks the part as finished."""
    save_model(run.model, out / run.name)
    evaluation = evaluate(load_model(out / run.name), tokenizer, EVALUATION_BATCHES)
    result = {
        "parameters": sum(p.numel() for p in run.model.parameters()),
        **asdict(run.spent),
        "held_out": asdict(evaluation),
    }
    _result(out, run.name).write_text(json.dumps(result, indent=2) + "\n")
    typer.echo(
        f"{run.name}: {result['parameters'] / 1e6:.2f} M parameters, {run.spent.flops / _PETA:.3f} petaflops,"
        f" {run.spent.seconds / 60:.0f} minutes, held-out loss {evaluation.loss:.4f}"
    )


def _result(out: Path, name: str) -> Path:
    return out / f"{name}.result.json"


if __name__ == "__main__":
    loaded()
    run("tools.home.train", train, RuntimeError)  # torch and ONNX Runtime say so what they can not do
