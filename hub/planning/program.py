"""Chooses the bits of a draft's layers, its head and its embedding: a knapsack with several choices for each item, solved by dynamic programming.

With d, t and s for what a choice loses (divergence in nats), takes (seconds a token) and weighs (bytes), the layers' choices b make

    T(D, S) = min over b of Σ t(b)   with   Σ d(b) ≤ D   and   Σ s(b) ≤ S,

    T_l(D, S) = min over b of  t_l(b) + T_{l−1}(D − d_l(b), S − s_l(b)),   T_0 = 0.

D and S are counted in levels, each choice rounded to the nearest. Then, of the divergences and the vocabulary's choices, those are taken that keep to
the limits and make the most committed tokens a second (`shared/expected_speed.py`), where acceptance is
α = α₀ − c · √(D + d_v) − m_v: errors of layers are independent, so that divergences add up, and the share of greedy ids that change goes with the
size of the error, the root of the divergence. docs/plans.md compares it with exhaustive search.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shared.expected_speed import expected_tokens_per_s

_LEVELS, _LEVELS_A_LAYER = 400, 20  # of divergence: at least, and at least for each layer
_LOOKED_AT = 64  # plans that fit, of which the best is taken: levels round
_BYTE_LEVELS, _BYTE_LEVELS_A_LAYER = 1000, 10  # of bytes


@dataclass(frozen=True)
class Choice:
    """What one choice for a layer loses, takes and weighs."""

    divergence: float  # nats
    seconds: float  # for a token
    bytes: int


@dataclass(frozen=True)
class Vocabulary:
    """A choice for head and embedding together."""

    bits: int
    ids: int | None  # of the head; None: all
    missed: float  # share of the target's ids that the head can't say
    cost: Choice


@dataclass(frozen=True)
class Limits:
    """What a plan has to keep to, and what is known of the draft with all its bits."""

    acceptance: float  # of the draft as it is
    loss: float  # of acceptance at most
    per_root: float  # acceptance that is lost by the root of a nat: c
    bytes: int
    round_s: float


@dataclass(frozen=True)
class Plan:
    """What was chosen, and what is expected of it."""

    bits: tuple[int, ...]  # by layer; 0: left out
    vocabulary: Vocabulary
    acceptance: float
    step_s: float
    bytes: int
    tokens_per_s: float


def best_plan(
    layers: Sequence[Mapping[int, Choice]], vocabularies: Sequence[Vocabulary], limits: Limits
) -> Plan | None:
    """The plan with the most tokens a second within the limits; None where nothing fits them."""
    levels = _levels(layers, limits)
    table, taken = _solve(layers, levels)
    found: list[tuple[float, int, int, Vocabulary]] = []
    for vocabulary in vocabularies:
        room = levels.room(limits.bytes - vocabulary.cost.bytes)
        for level in range(levels.nats + 1) if room >= 0 else ():
            if np.isfinite(table[level, room]):
                acceptance = _acceptance(levels.divergence * level / levels.nats, vocabulary, limits)
                step_s = float(table[level, room]) + vocabulary.cost.seconds
                found.append((expected_tokens_per_s(acceptance, step_s, limits.round_s), level, room, vocabulary))
    found.sort(key=lambda each: each[0], reverse=True)
    fitting: list[Plan] = []
    for _, level, room, vocabulary in found:
        plan = planned(layers, _followed(layers, levels, taken, level, room), vocabulary, limits)
        if plan.bytes <= limits.bytes and plan.acceptance >= limits.acceptance - limits.loss:
            fitting.append(plan)
        if len(fitting) == _LOOKED_AT:
            break
    return max(fitting, key=lambda plan: plan.tokens_per_s, default=None)


def planned(
    layers: Sequence[Mapping[int, Choice]], bits: Sequence[int], vocabulary: Vocabulary, limits: Limits
) -> Plan:
    """What is to be expected of given choices."""
    chosen = [choices[b] for choices, b in zip(layers, bits, strict=True)]
    acceptance = _acceptance(sum(choice.divergence for choice in chosen), vocabulary, limits)
    step_s = sum(choice.seconds for choice in chosen) + vocabulary.cost.seconds
    return Plan(
        bits=tuple(bits),
        vocabulary=vocabulary,
        acceptance=acceptance,
        step_s=step_s,
        bytes=sum(choice.bytes for choice in chosen) + vocabulary.cost.bytes,
        tokens_per_s=expected_tokens_per_s(acceptance, step_s, limits.round_s),
    )


def _acceptance(divergence: float, vocabulary: Vocabulary, limits: Limits) -> float:
    lost = limits.per_root * math.sqrt(divergence + vocabulary.cost.divergence)
    return max(0.0, limits.acceptance - lost - vocabulary.missed)


@dataclass(frozen=True)
class _Levels:
    """The scales of the table: its ends are `divergence` nats and `bytes`, in as many levels as `nats` and `sizes`."""

    divergence: float
    bytes: float
    nats: int
    sizes: int

    def of(self, choice: Choice) -> tuple[int, int]:
        """The levels that a choice takes; one more than there are, where it takes more."""
        nats = choice.divergence / self.divergence * self.nats if self.divergence else 0
        size = choice.bytes / self.bytes * self.sizes
        return round(min(nats, self.nats + 1)), round(min(size, self.sizes + 1))

    def room(self, size: float) -> int:
        """The level that so many bytes have room for; below 0 where they have none."""
        return min(round(size / self.bytes * self.sizes), self.sizes)


def _levels(layers: Sequence[Mapping[int, Choice]], limits: Limits) -> _Levels:
    """Scales that end where a limit does, or where all layers have their largest choice."""
    nats = max(_LEVELS, _LEVELS_A_LAYER * len(layers))
    sizes = max(_BYTE_LEVELS, _BYTE_LEVELS_A_LAYER * len(layers))
    divergence = sum(max(choice.divergence for choice in choices.values()) for choices in layers)
    weight = sum(max(choice.bytes for choice in choices.values()) for choices in layers)
    if limits.per_root:
        divergence = min(1.05 * divergence, (limits.loss / limits.per_root) ** 2)
    return _Levels(divergence, min(1.05 * weight, max(1, limits.bytes)), nats, sizes)


def _solve(
    layers: Sequence[Mapping[int, Choice]], levels: _Levels
) -> tuple[npt.NDArray[np.float64], list[npt.NDArray[np.int8]]]:
    """T for all layers, [divergence, bytes], and for each layer the choice, by its number, that T takes there."""
    table = np.zeros((levels.nats + 1, levels.sizes + 1))
    taken: list[npt.NDArray[np.int8]] = []
    for choices in layers:
        least = np.full_like(table, np.inf)
        by = np.zeros(table.shape, np.int8)
        for number, choice in enumerate(choices.values()):
            nats, size = levels.of(choice)
            if nats > levels.nats or size > levels.sizes:
                continue
            moved = np.full_like(table, np.inf)
            moved[nats:, size:] = table[: levels.nats + 1 - nats, : levels.sizes + 1 - size] + choice.seconds
            by[moved < least] = number
            least = np.minimum(least, moved)
        table = least
        taken.append(by)
    return table, taken


def _followed(
    layers: Sequence[Mapping[int, Choice]],
    levels: _Levels,
    taken: Sequence[npt.NDArray[np.int8]],
    nats: int,
    size: int,
) -> list[int]:
    """The bits by which T came to what it is there."""
    bits = []
    for choices, by in zip(reversed(layers), reversed(taken), strict=True):
        chosen = list(choices)[by[nats, size]]
        bits.append(chosen)
        used_nats, used_size = levels.of(choices[chosen])
        nats, size = nats - used_nats, size - used_size
    return bits[::-1]
