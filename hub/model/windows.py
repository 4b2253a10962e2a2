"""How far back each layer of a model looks: all the way, or over a window. K/V are kept of every position either way, so both can be truncated."""

from __future__ import annotations

from typing import Any

from shared.errors import PairError

_FULL, _SLIDING = "full_attention", "sliding_attention"  # types of layers by transformers' name


def windows_of(config: Any) -> tuple[int | None, ...]:
    """By layer, how many positions a query sees, itself among them; None where it sees all before it.

    Raises PairError for a layer of another type: its state can't be truncated after a rejected draft.
    """
    slides = getattr(config, "use_sliding_window", True)
    window = (getattr(config, "sliding_window", None) or None) if slides else None
    named = (getattr(config, name, None) for name in ("layer_types", "layers_block_type"))
    kinds = next(filter(None, named), None) or [_FULL if window is None else _SLIDING] * config.num_hidden_layers
    for layer, kind in enumerate(kinds):
        if kind not in {_FULL, _SLIDING} or (kind == _SLIDING and window is None):
            raise PairError(
                f"layer {layer} of the target's architecture {config.model_type!r} is of type {str(kind)[:60]!r}, whose state can't be "
                f"truncated after a rejected draft; choose a target whose layers are all of {_FULL} or {_SLIDING}"
            )
    return tuple(window if kind == _SLIDING else None for kind in kinds)
