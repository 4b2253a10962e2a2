"""A drafter whose quality and speed are numbers to be set, for benchmarks of the node's real loop."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from edge_node.drafting.drafter import Guess
from shared.sampling_parameters import Sampling
from shared.transcript import common_length

SOURCE = "emulated"
_PREFILL_SHARE = 0.2  # share of a token's time that one more id of a run takes, as measured on small models
_SET = 20  # positions in a row of which the set share is right, so that short runs compare
_PIECE_S, _LEAST_PIECE = 0.03, 4  # seconds and ids of a run that takes in a text, as the real drafter has them


@dataclass(frozen=True)
class Skill:
    """How good and how fast an emulated drafter is."""

    acceptance: float  # chance that a token is the target's, those before it being right
    draft_s: float  # for one token
    runner_up: float = 0.4  # chance that its second choice is the target's, where the first is not


class EmulatedDrafter:
    """Drafts a text that is known, each token right or not as was decided by its position alone."""

    def __init__(
        self, text: Sequence[int], skill: Skill, seed: int, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        """`text` is the prompt and what the target writes behind it; `sleep` passes the seconds that drafting takes."""
        self.context = 2**20
        self._text = list(text)
        self._skill = skill
        self.seed = seed
        self._sleep = sleep
        self._held: list[int] = []  # ids that it has taken in

    def draft(self, ids: Sequence[int], _: Sampling) -> Iterator[Guess | None]:
        """See `edge_node.drafting.drafter.Drafter`; right as long as `ids` are the text's."""
        if not ids:
            raise ValueError("a draft needs at least one committed id")
        return self._guesses(list(ids))

    def _guesses(self, ids: list[int]) -> Iterator[Guess | None]:
        known = ids == self._text[: len(ids)]
        while True:
            same = common_length(self._held, ids)
            missing = len(ids) - 1 - same
            if missing > 1:
                piece = min(missing, self._piece()) if self._held else 1
                self._sleep(self._skill.draft_s * (1 + _PREFILL_SHARE * (piece - 1)))
                self._held = ids[: same + piece]
                yield None
                continue
            self._sleep(self._skill.draft_s)
            self._held = list(ids)
            right, second = self._fortune(len(ids))
            truth = self._text[len(ids)] if known and len(ids) < len(self._text) else 3
            wrong, other = (truth - 1, truth - 2) if truth > 2 else (truth + 1, truth + 2)
            token = truth if right else wrong
            runner_up = truth if second and not right else other
            known = known and right
            ids.append(token)
            yield Guess(token, self._skill.acceptance, SOURCE, runner_up)

    def _piece(self) -> int:
        """How many ids it takes in in one run."""
        more = (_PIECE_S / max(self._skill.draft_s, 1e-6) - 1) / _PREFILL_SHARE
        return max(_LEAST_PIECE, 1 + int(more))

    def _fortune(self, position: int) -> tuple[bool, bool]:
        """Whether the first and the second choice for a position are right: of _SET positions in a row just that share is."""
        number, place = divmod(position, _SET)
        rng = random.Random(f"{self.seed} {number}")
        shares = (self._skill.acceptance, self._skill.runner_up)
        first, second = (rng.sample([k < round(share * _SET) for k in range(_SET)], _SET)[place] for share in shares)
        return first, second
