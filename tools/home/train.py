"""Trains the models of the built-in pair on generated conversations, with the loss on the answers alone.

    python -m tools.home.train target --tokens 24e6 --out build/home
    python -m tools.home.train draft --tokens 6e6 --out build/home

Weights of matrices are trained with Muon, the rest with AdamW, at a constant rate that falls to zero over the last
part of `--tokens`; a run that was stopped goes on from its last checkpoint, also towards a larger `--tokens`.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from tokenizers import Tokenizer
from transformers import LlamaConfig, LlamaForCausalLM

from tools.home.batches import Batch, batches
from tools.home.tokenizer import END, PAD, train_tokenizer

VOCAB_SIZE = 2048
CONTEXT = 1024
_MAX_TRAINED_LENGTH = 448
_DECAY_SHARE = 0.3  # the last share of the tokens, over which the rate falls to zero


@dataclass(frozen=True)
class Recipe:
    """The shape of a model and how it is trained."""

    hidden: int
    layers: int
    heads: int
    kv_heads: int
    intermediate: int
    matrix_rate: float
    other_rate: float
    tokens_per_batch: int


RECIPES = {
    "target": Recipe(192, 6, 6, 3, 576, matrix_rate=4e-3, other_rate=4e-3, tokens_per_batch=4096),
    "draft": Recipe(128, 3, 4, 2, 384, matrix_rate=5e-3, other_rate=5e-3, tokens_per_batch=4096),
}


def build(recipe: Recipe, tokenizer: Tokenizer) -> LlamaForCausalLM:
    """A model of that shape with random weights."""
    config = LlamaConfig(
        vocab_size=VOCAB_SIZE,
        hidden_size=recipe.hidden,
        num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.heads,
        num_key_value_heads=recipe.kv_heads,
        intermediate_size=recipe.intermediate,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        pad_token_id=tokenizer.token_to_id(PAD),
        bos_token_id=None,
        eos_token_id=tokenizer.token_to_id(END),
    )
    return LlamaForCausalLM(config)


def answer_loss(model: LlamaForCausalLM, batch: Batch) -> torch.Tensor:
    """Mean cross entropy over the ids of answers; the head is computed for these alone."""
    hidden = model.model(input_ids=batch.ids, use_cache=False).last_hidden_state[:, :-1][batch.answer]
    return torch.nn.functional.cross_entropy(model.lm_head(hidden).float(), batch.ids[:, 1:][batch.answer])


def train(
    which: Annotated[str, typer.Argument(help="target or draft")],
    out: Annotated[Path, typer.Option(help="folder for tokenizer, checkpoint and model")],
    tokens: Annotated[float, typer.Option(help="padded tokens to train on in all")] = 20e6,
    seed: int = 0,
) -> None:
    """Train one model of the pair and save it in Hugging Face form under OUT/WHICH."""
    recipe = RECIPES[which]
    out.mkdir(parents=True, exist_ok=True)
    tokenizer_file = out / "tokenizer.json"
    if not tokenizer_file.exists():
        train_tokenizer(VOCAB_SIZE, samples=60_000, seed=seed).save(str(tokenizer_file))
    tokenizer = Tokenizer.from_file(str(tokenizer_file))
    torch.manual_seed(seed)
    model = build(recipe, tokenizer)
    matrices = [p for p in model.model.layers.parameters() if p.ndim == 2]
    taken = {id(p) for p in matrices}
    others = [p for p in model.parameters() if id(p) not in taken]
    optimizers: list[torch.optim.Optimizer] = [
        torch.optim.Muon(matrices, lr=recipe.matrix_rate, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, lr=recipe.other_rate, betas=(0.9, 0.95), weight_decay=0.0),
    ]
    rates = [recipe.matrix_rate, recipe.other_rate]
    checkpoint = out / f"{which}.checkpoint.pt"
    done, step = 0, 0
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(state["model"])
        for optimizer, saved in zip(optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        done, step = state["done"], state["step"]
    stream = batches(tokenizer, recipe.tokens_per_batch, _MAX_TRAINED_LENGTH, seed=seed + 1 + step)
    smooth, saved_at = None, time.monotonic()
    log = (out / f"{which}.loss.csv").open("a")
    with Progress(TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn()) as progress:
        bar = progress.add_task(which, total=tokens, completed=done)
        while done < tokens:
            batch = next(stream)
            share = min(1.0, step / 100, (1 - done / tokens) / _DECAY_SHARE) + 1e-4
            for optimizer, rate in zip(optimizers, rates, strict=True):
                optimizer.param_groups[0]["lr"] = rate * share
                optimizer.zero_grad(set_to_none=True)
            with torch.autocast("cpu", torch.bfloat16):
                loss = answer_loss(model, batch)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(others, 1.0)
            for optimizer in optimizers:
                optimizer.step()
            done, step = done + batch.ids.numel(), step + 1
            smooth = loss.item() if smooth is None else 0.98 * smooth + 0.02 * loss.item()
            if step % 20 == 0:
                log.write(f"{done},{smooth:.5f}\n")
                log.flush()
            progress.update(bar, completed=done, description=f"{which} loss {smooth:.4f}")
            if time.monotonic() - saved_at > 120:
                _save(checkpoint, model, optimizers, done, step)
                saved_at = time.monotonic()
    _save(checkpoint, model, optimizers, done, step)
    model.bfloat16().save_pretrained(out / which)
    typer.echo(f"{which}: {sum(p.numel() for p in model.parameters()) / 1e6:.2f} M parameters, loss {smooth:.4f}")


def _save(path: Path, model: LlamaForCausalLM, optimizers: list[torch.optim.Optimizer], done: int, step: int) -> None:
    state = {
        "model": model.state_dict(),
        "optimizers": [o.state_dict() for o in optimizers],
        "done": done,
        "step": step,
    }
    partial = path.with_suffix(".partial")
    torch.save(state, partial)
    partial.replace(path)


if __name__ == "__main__":
    typer.run(train)
