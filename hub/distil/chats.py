"""What a student learns from: chats that the target makes up itself, and its answers to the prompts of a file.

A chat model that is given nothing but the words before a request writes one such as it was trained on (Xu et al., "Magpie", 2024), and then
answers it. So a draft in any language needs no text of its own. The chats are kept in a file, to which an interrupted run adds.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from hub.pairing.answers import Answered, answers
from hub.pairing.begun import Asked
from shared.sampling_parameters import Sampling

_REQUEST_TOKENS, _ANSWER_TOKENS = 64, 192  # most ids of each
_AT_ONCE = 16  # chats that are made up side by side
_LEAST_TOKENS = 4  # of a request that says something
_LOOSE = Sampling(temperature=1.0, top_p=0.95)  # how requests are sampled, so that no two are alike


class Chats:
    """The chats in a file, one JSON object a line."""

    def __init__(self, path: Path) -> None:
        """Read what is there; a last line that is cut short is left out."""
        self._path = path
        self.known: list[Answered] = []
        if path.exists():
            lines = path.read_text(encoding="utf-8").split("\n")[:-1]
            self.known = [Answered(tuple(each["ids"]), each["prompt"]) for each in map(json.loads, lines)]
            path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")

    def add(self, some: Sequence[Answered]) -> None:
        """Remember chats."""
        self.known += some
        with self._path.open("a", encoding="utf-8") as file:
            file.writelines(f"{json.dumps({'ids': each.ids, 'prompt': each.prompt})}\n" for each in some)


def make_up(model: Asked, around: tuple[Sequence[int], Sequence[int]], seed: int) -> list[Answered]:
    """Some chats, by one seed; `around` has the ids that the template puts before a request and behind it."""
    before, behind = list(around[0]), list(around[1])
    samplings = [replace(_LOOSE, seed=seed * _AT_ONCE + number) for number in range(_AT_ONCE)]
    begun = [before] * _AT_ONCE
    told = answers(model.target, begun, model.ends, model.known, _REQUEST_TOKENS, samplings=samplings)
    requests = [each.ids[each.prompt :] for each in told]
    whole = [request[:-1] for request in requests if request[-1] in model.ends and len(request) > _LEAST_TOKENS]
    return answered(model, [[*before, *request, *behind] for request in whole])


def answered(model: Asked, prompts: Sequence[Sequence[int]]) -> list[Answered]:
    """What the target says to prompts of ids, greedy."""
    return list(answers(model.target, prompts, model.ends, model.known, _ANSWER_TOKENS))
