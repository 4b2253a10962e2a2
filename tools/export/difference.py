"""How far the logits of a draft graph are from those of the model that it was made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from transformers import PreTrainedModel

from edge_node.drafting.onnx_drafter import OnnxDrafter


@dataclass(frozen=True)
class Difference:
    """How far a graph's logits are from those of transformers: the largest difference, and the mean one.

    `relative` is the root mean square of the differences over that of the logits about their mean.
    """

    largest: float
    relative: float


def compare(path: Path, model: PreTrainedModel, head: Sequence[int]) -> Difference:
    """How far the graph's logits of the ids in `head` are from the model's."""
    drafter = OnnxDrafter(path)
    generator = torch.Generator().manual_seed(0)
    differences, spreads = [], []
    # A prefill, a block, two single ids, and the same after rewinds; (held before, fed).
    for held, fed in ((0, 24), (24, 5), (29, 1), (30, 1), (28, 3), (31, 1), (7, 13), (20, 1)):
        drafter.rewind(held)
        logits = drafter.feed(torch.randint(model.config.vocab_size, (fed,), generator=generator).tolist())[head]
        with torch.no_grad():
            expected = model(input_ids=torch.tensor([drafter.held]), use_cache=False).logits[0, -1, head].numpy()
        differences.append(logits - expected)
        spreads.append(expected - expected.mean())
    error, spread = (float(np.sqrt(np.mean(np.square(rows)))) for rows in (differences, spreads))
    return Difference(largest=float(np.abs(differences).max()), relative=error / spread)
