"""How far the logits of a draft graph are from those of the model that it was made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from transformers import PreTrainedModel

from hub.export.device import Device

_WINDOW = 1024  # positions of the largest window whose end is looked at


@dataclass(frozen=True)
class Difference:
    """How far a graph's logits are from those of transformers: the largest difference, and the mean one.

    `relative` is the root mean square of the differences over that of the logits about their mean.
    """

    largest: float
    relative: float


def compare(device: Device, path: Path, model: PreTrainedModel, head: Sequence[int]) -> Difference:
    """How far the graph's logits of the ids in `head` are from the model's, along texts that are fed and rewound in several ways."""
    device.open_graph(path)
    generator = torch.Generator().manual_seed(0)
    text: list[int] = []
    differences, spreads = [], []
    for held, fed in _steps(model):
        new = torch.randint(model.config.vocab_size, (fed,), generator=generator).tolist()
        text = [*text[:held], *new]
        logits = device.logits(new, held)[head]
        with torch.no_grad():
            expected = model(input_ids=torch.tensor([text]), use_cache=False).logits[0, -1, head].numpy()
        differences.append(logits - expected)
        spreads.append(expected - expected.mean())
    error, spread = (float(np.sqrt(np.mean(np.square(rows)))) for rows in (differences, spreads))
    return Difference(largest=float(np.abs(differences).max()), relative=error / spread)


def _steps(model: PreTrainedModel) -> list[tuple[int, int]]:
    """How many ids are held before each step, and how many it feeds: a prefill, a block, two single ids, and the same after rewinds.

    Where layers see a window, so does a text that is longer.
    """
    steps = [(0, 24), (24, 5), (29, 1), (30, 1), (28, 3), (31, 1), (7, 13), (20, 1)]
    window = getattr(model.config, "sliding_window", None) or 0
    if 0 < window <= min(_WINDOW, model.config.max_position_embeddings - 16):
        steps += [(0, window + 3), (window + 3, 4), (window + 7, 1), (window - 2, 5)]
    return steps
