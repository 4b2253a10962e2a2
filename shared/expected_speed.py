"""How many tokens a second a device is to be expected to commit, by its draft's acceptance and speed."""

from __future__ import annotations

import math

ROUND_S = 0.1  # seconds of a round besides drafting that are assumed: a hub's forward and two ways over the broker
_LONGEST = 16  # drafted tokens of a block that are considered
_SUREST = 0.999  # acceptance that is counted at most: one of 1 would make any block worth it


def expected_commit(acceptance: float, length: float) -> float:
    """Tokens that a round of `length` drafted ones commits, each right with probability α: E = (1 − α^(γ+1)) / (1 − α).

    Leviathan et al., "Fast Inference from Transformers via Speculative Decoding" (2023).
    """
    alpha = min(max(acceptance, 0.0), _SUREST)
    return (1 - math.pow(alpha, length + 1)) / (1 - alpha)


def expected_tokens_per_s(acceptance: float, step_s: float, round_s: float = ROUND_S) -> float:
    """Committed tokens a second with the block length γ that is best for them; `step_s` are seconds for a drafted token.

    A round takes `round_s` + γ · `step_s`.
    """
    lengths = range(1, _LONGEST + 1)
    return max(expected_commit(acceptance, n) / (round_s + n * step_s) for n in lengths)
