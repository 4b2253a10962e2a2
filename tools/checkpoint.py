"""Checkpoints as the tools load them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM

from shared.errors import PairError


def load_checkpoint(checkpoint: str | Path, dtype: torch.dtype) -> Any:
    """The causal LM in that folder. Raises PairError for whatever transformers can't load."""
    try:
        return AutoModelForCausalLM.from_pretrained(checkpoint, dtype=dtype, local_files_only=True)
    except Exception as error:  # transformers and safetensors fail in many ways over a file that is none of theirs
        raise PairError(f"cannot load the checkpoint {checkpoint}: {error}") from None
