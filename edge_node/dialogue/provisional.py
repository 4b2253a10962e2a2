"""Turns that this device has answered without a hub, until a hub says what its target would have answered."""

from __future__ import annotations

from dataclasses import dataclass

from edge_node.dialogue.tokenizer import Asking, Turn
from shared.grammar import Grammar
from shared.sampling_parameters import Sampling


@dataclass(frozen=True)
class ProvisionalTurn:
    """A request, and an answer that is not verified, or not all of it."""

    request: str
    text: str
    ids: tuple[int, ...]  # of the answer, the end-of-turn id left out
    sampling: Sampling
    max_tokens: int
    stop: tuple[str, ...]
    role: Asking = "user"
    grammar: Grammar | None = None  # that the answer must keep to

    @property
    def turns(self) -> list[Turn]:
        """As turns of a chat."""
        return [Turn(self.role, self.request), Turn("assistant", self.text, self.ids)]


@dataclass(frozen=True)
class SettledTurn:
    """What became of a provisional turn when a hub was there again."""

    request: str
    was: str
    now: str

    @property
    def amended(self) -> bool:
        """Whether the target would have answered otherwise."""
        return self.was != self.now
