"""A loaded model's linear layers, rounded to the whole numbers that the settings ask for."""

from __future__ import annotations

from typing import Any

import torch

from hub.model.int4 import Int4Linear
from hub.model.int8 import Int8Linear
from hub.model.linear import replace_linear
from hub.settings import Weights


def round_layers(model: Any, weights: Weights) -> None:
    """Round all linear layers. A head in 4 bits would show in every probability: it is in int8."""
    head = model.get_output_embeddings()

    def rounded(linear: torch.nn.Linear) -> torch.nn.Module:
        kind = Int4Linear if weights is Weights.INT4 and linear is not head else Int8Linear
        return kind.rounded(linear)

    replace_linear(model, rounded)
