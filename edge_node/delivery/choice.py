"""Which of several drafts this device should use."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from shared.expected_speed import expected_tokens_per_s
from shared.memory import available_memory, memory_bandwidth

_SHARE = 0.5  # of the free memory that a draft's weights may take


class DraftFacts(Protocol):
    """What is known of a draft."""

    @property
    def acceptance(self) -> float | None:
        """Share of the target's ids that it drafts, from 0 to 1."""

    @property
    def step_bytes(self) -> int | None:
        """Bytes of weights that are read for each token."""


AnyDraft = TypeVar("AnyDraft", bound=DraftFacts)


@dataclass(frozen=True)
class Device:
    """What of a device decides."""

    bandwidth: float  # bytes a second that are read from memory
    free_memory: float  # bytes


def tokens_per_s(draft: DraftFacts, device: Device) -> float:
    """Committed tokens a second that are to be expected. What was not measured counts as nothing: a draft of unknown acceptance as one that is never right."""
    return expected_tokens_per_s(draft.acceptance or 0.0, (draft.step_bytes or 0) / device.bandwidth)


def best(drafts: Iterable[AnyDraft], device: Device) -> AnyDraft | None:
    """The draft with the most tokens a second of those whose weights fit the memory; of equals the first. None if there is none."""
    fitting = [draft for draft in drafts if (draft.step_bytes or 0) <= _SHARE * device.free_memory]
    return max(fitting, key=lambda draft: tokens_per_s(draft, device), default=None)


def this_device() -> Device:
    """This one, as measured."""
    free = available_memory()
    return Device(memory_bandwidth(), math.inf if free is None else free)
