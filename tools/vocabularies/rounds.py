"""Rounds without a hub: a draft, and a text that the target is known to write."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from edge_node.drafting.drafter import Drafter, Guess
from shared.sampling_parameters import Sampling

LENGTH = 4  # tokens of a block


@dataclass
class Rounds:
    """What came of all rounds so far."""

    accepted: int = 0
    rejected: int = 0  # rounds in which the target wrote another token than the drafted one
    proposed: int = 0
    committed: int = 0
    rounds: int = 0
    draft_s: float = 0.0
    confidence: float = 0.0  # sum over the tokens that the target looked at

    @property
    def figures(self) -> dict[str, Any]:
        """Shares and means."""
        looked_at = max(1, self.accepted + self.rejected)
        return {
            "acceptance": round(self.accepted / looked_at, 4),
            "confidence": round(self.confidence / looked_at, 4),
            "draft_ms": round(1e3 * self.draft_s / max(1, self.proposed), 1),
            "committed_per_round": round(self.committed / max(1, self.rounds), 2),
        }


def play(drafter: Drafter, prompt: Sequence[int], answer: Sequence[int], sampling: Sampling, rounds: Rounds) -> None:
    """Draft for `answer` block by block, as a node does whose target writes it; add what comes of it to `rounds`."""
    first = list(_block(drafter, prompt, sampling, 1))  # the prompt is taken in by it, which is not counted
    at = 0
    while at < len(answer) and first:
        started = time.perf_counter()
        block = list(_block(drafter, [*prompt, *answer[:at]], sampling, LENGTH))
        rounds.draft_s += time.perf_counter() - started
        right = 0
        for guess, written in zip(block, answer[at:], strict=False):
            rounds.confidence += guess.confidence
            if guess.token != written:
                rounds.rejected += 1
                break
            right += 1
        rounds.accepted += right
        rounds.proposed += len(block)
        rounds.rounds += 1
        rounds.committed += min(right + 1, len(answer) - at)
        at += right + 1


def _block(drafter: Drafter, ids: Sequence[int], sampling: Sampling, count: int) -> Iterator[Guess]:
    return islice((guess for guess in drafter.draft(ids, sampling) if guess is not None), count)
