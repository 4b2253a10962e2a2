"""Exit heads behind several layers of a frozen target, trained side by side towards its distribution."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from hub.model.exits import ExitHead
from tools.home.training.batches import Batch

BLOCK = 8  # tokens, of a drafted block
_RATE = 2e-3
_WARM_UP = 50  # steps
_DECAY = 0.5  # the last share of the steps, over which the rate falls to zero


@dataclass(frozen=True)
class Agreement:
    """How often a head's likeliest id is the target's, given the same text before."""

    layer: int
    rest: float  # share of the layers behind it
    tokens: float  # share of ids
    blocks: float  # share of blocks of BLOCK ids in which all are

    @property
    def worth(self) -> float:
        """The share of blocks that are right, each counted as the share of the target that need not be waited for."""
        return self.blocks * self.rest


class Heads:
    """A head behind each of `layers`."""

    def __init__(self, model: Any, layers: Sequence[int], width: int, first: Batch) -> None:
        """`model` is a causal LM of `transformers`, which is not changed; the heads begin from what `first` looks like to it."""
        self._model = model.requires_grad_(False).eval()
        self._project = model.get_output_embeddings()
        self.heads = [ExitHead(layer, self._project.in_features, width).to(model.device) for layer in layers]
        taken: list[torch.Tensor] = []
        with self._project.register_forward_pre_hook(lambda _, inputs: taken.append(inputs[0])):
            self._states(first)
        scale = taken[0].float().flatten(0, -2).square().mean(0).sqrt()
        for head in self.heads:
            torch.nn.init.zeros_(head.down.weight)  # to begin with, the layer as if it were the last
            head.norm.weight.data.copy_(scale)
        self._depth = model.config.num_hidden_layers

    def train(self, batches: Iterable[Batch], steps: int) -> Iterable[list[float]]:
        """Take `steps` steps of a batch each, at most; yield each head's KL(target || exit), nats per id."""
        parameters = [parameter for head in self.heads for parameter in head.parameters()]
        optimizer = torch.optim.AdamW(parameters, lr=_RATE, betas=(0.9, 0.98), weight_decay=0.0)
        for step, batch in zip(range(steps), batches, strict=False):
            optimizer.param_groups[0]["lr"] = _RATE * min(1.0, (step + 1) / _WARM_UP, (1 - step / steps) / _DECAY)
            states, logits = self._states(batch)
            wanted = logits.log_softmax(-1)
            losses = [
                torch.nn.functional.kl_div(
                    self._said(head, x).log_softmax(-1), wanted, reduction="batchmean", log_target=True
                )
                for head, x in zip(self.heads, states, strict=True)
            ]
            optimizer.zero_grad(set_to_none=True)
            torch.stack(losses).sum().backward()
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            yield [loss.item() for loss in losses]

    @torch.no_grad()
    def agreement(self, batches: Iterable[Batch]) -> list[Agreement]:
        """Of each head, over the answers in `batches`."""
        tokens: list[list[torch.Tensor]] = [[] for _ in self.heads]
        blocks: list[list[torch.Tensor]] = [[] for _ in self.heads]
        for batch in batches:
            states, logits = self._states(batch)
            true = logits.argmax(-1)
            lengths = batch.answer.sum(1).tolist()
            for number, (head, x) in enumerate(zip(self.heads, states, strict=True)):
                same = self._said(head, x).argmax(-1) == true
                tokens[number].append(same)
                for row in same.split(lengths):
                    whole = len(row) // BLOCK * BLOCK
                    blocks[number].append(row[:whole].view(-1, BLOCK).all(1))
        return [
            Agreement(
                head.layer,
                1 - head.layer / self._depth,
                float(torch.cat(tokens[number]).float().mean()),
                float(torch.cat(blocks[number]).float().mean()),
            )
            for number, head in enumerate(self.heads)
        ]

    def _said(self, head: ExitHead, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self._project(head(x.float()).to(x.dtype))
        return logits.float()

    @torch.no_grad()
    def _states(self, batch: Batch) -> tuple[list[torch.Tensor], torch.Tensor]:
        """What is behind each head's layer [ids, size], and the target's logits [ids, vocab], where an id is learnt."""
        there = batch.to(self._model.device)
        output = self._model(input_ids=there.ids, use_cache=False, output_hidden_states=True)
        states = [output.hidden_states[head.layer][:, :-1][there.answer] for head in self.heads]
        return states, output.logits[:, :-1][there.answer].float()
