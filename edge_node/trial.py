"""What a draft and a chat template do on a device, for whoever makes a pair: requests and replies are lines of JSON.

`python -m edge_node.trial` reads requests on standard input until it is closed and answers each with one line on standard output:

    {"graph": path}                      -> {"context": n}: the draft graph that `logits` and `follow` are about
    {"draft": name, "pair": folder}      -> {"context": n}: the same of a pair's draft, which may have a vocabulary of its own
    {"logits": ids, "held": n}           -> {"logits": float32, little-endian, in base64}: behind `ids`, fed after the first `held` of those before
    {"follow": ids, "from": n}           -> {"guesses": ids, "seconds": s}: the greedy guess at each position of `ids` from n on, -1 for none
    {"translate": texts}                 -> what it costs that the draft of a pair has another vocabulary: see TranslationCost
    {"prompts": chats, "pair": folder}   -> {"prompts": lists of ids}: of each chat, a list of {"role", "content"}

A request that fails is answered by {"error": sentence}, and the next one is read. The hub's programs know nothing else of the node's.
"""

from __future__ import annotations

import base64
import json
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from edge_node.dialogue.tokenizer import ChatTokenizer, Turn
from edge_node.drafting.drafter import Drafter, first_tokens
from edge_node.drafting.onnx_drafter import OnnxDrafter
from edge_node.drafting.translation_cost import translation_cost
from edge_node.drafts import DraftModel, load_draft
from shared.pair import load_pair
from shared.sampling_parameters import Sampling


class Trial:
    """The draft that is tried."""

    def __init__(self) -> None:
        """None is, before the first is opened."""
        self._model: DraftModel | None = None

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """The reply to a request. Raises what goes wrong."""
        match request:
            case {"graph": path}:
                return self._open(DraftModel(OnnxDrafter(Path(path)), None))
            case {"draft": name, "pair": folder}:
                pair = load_pair(folder)
                return self._open(load_draft(pair, 0, ChatTokenizer(pair), name))
            case {"logits": ids, "held": held}:
                graph = self._opened.graph
                graph.rewind(held)
                return {"logits": base64.b64encode(graph.feed(ids).astype("<f4").tobytes()).decode()}
            case {"follow": ids, "from": first}:
                return self._follow(ids, first)
            case {"translate": texts} if self._opened.translation is not None:
                cost = translation_cost(self._opened.translation, texts)
                return {**asdict(cost), "told": cost.told}
            case {"prompts": chats, "pair": folder}:
                tokenizer = ChatTokenizer(load_pair(folder))
                return {"prompts": [tokenizer.prompt([Turn(**turn) for turn in chat]) for chat in chats]}
        raise ValueError(f"a request of an unknown kind: {list(request)}")

    @property
    def _opened(self) -> DraftModel:
        if self._model is None:
            raise ValueError("no draft is open")
        return self._model

    def _open(self, model: DraftModel) -> dict[str, Any]:
        self._model = model
        return {"context": model.graph.context}

    def _follow(self, ids: list[int], first: int) -> dict[str, Any]:
        """Take in what stands before `first`, and then draft a token at each position, as a device does; the seconds are of the latter."""
        drafter = self._opened.speaker(self._opened.graph)
        guesses = [_guess(drafter, ids[:first])]
        started = time.perf_counter()
        guesses += [_guess(drafter, ids[:place]) for place in range(first + 1, len(ids))]
        return {"guesses": guesses, "seconds": time.perf_counter() - started}


def _guess(drafter: Drafter, ids: list[int]) -> int:
    return next(iter(first_tokens(drafter, ids, 1, Sampling())), -1)


def main() -> None:
    """Answer requests until there are no more."""
    trial = Trial()
    for line in sys.stdin:
        try:
            reply = trial.answer(json.loads(line))
        except Exception as error:  # whatever goes wrong: the runtime raises errors of many kinds
            reply = {"error": " ".join(str(error).split()) or type(error).__name__}
        sys.stdout.write(json.dumps(reply) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
