"""What a draft and a chat template do on a device, for whoever makes a pair: requests and replies are lines of JSON.

`python -m edge_node.trial` reads requests on standard input until it is closed and answers each with one line on standard output:

    {"open": path, "threads": n}         -> {"context": n, "vocab_size": n}: the draft that the following are about
    {"logits": ids, "held": n}           -> {"logits": float32, little-endian, in base64}: behind `ids`, fed after the first `held` of those before
    {"follow": ids, "from": n}           -> {"guesses": ids, "seconds": s}: the greedy guess at each position of `ids` from n on
    {"prompts": chats, "pair": folder}   -> {"prompts": lists of ids}: of each chat, a list of {"role", "content"}

A request that fails is answered by {"error": sentence}, and the next one is read. The hub's programs know nothing else of the node's.
"""

from __future__ import annotations

import base64
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from edge_node.dialogue.tokenizer import ChatTokenizer, Turn
from edge_node.drafting.onnx_drafter import OnnxDrafter
from shared.pair import load_pair


class Trial:
    """The draft that is tried."""

    def __init__(self) -> None:
        """None is, before the first is opened."""
        self._drafter: OnnxDrafter | None = None

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """The reply to a request. Raises what goes wrong."""
        match request:
            case {"open": path, "threads": threads}:
                self._drafter = OnnxDrafter(Path(path), threads=threads)
                return {"context": self._drafter.context, "vocab_size": self._drafter.vocab_size}
            case {"logits": ids, "held": held}:
                self._opened.rewind(held)
                return {"logits": base64.b64encode(self._opened.feed(ids).astype("<f4").tobytes()).decode()}
            case {"follow": ids, "from": first}:
                return self._follow(ids, first)
            case {"prompts": chats, "pair": folder}:
                tokenizer = ChatTokenizer(load_pair(folder))
                return {"prompts": [tokenizer.prompt([Turn(**turn) for turn in chat]) for chat in chats]}
        raise ValueError(f"a request of an unknown kind: {list(request)}")

    @property
    def _opened(self) -> OnnxDrafter:
        if self._drafter is None:
            raise ValueError("no draft is open")
        return self._drafter

    def _follow(self, ids: list[int], first: int) -> dict[str, Any]:
        """Feed what stands before `first` at once and the rest one by one, as a device that drafts does; the seconds are of the latter."""
        drafter = self._opened
        drafter.rewind(0)
        guesses = [int(drafter.feed(ids[:first]).argmax())]
        started = time.perf_counter()
        guesses += [int(np.argmax(drafter.feed((one,)))) for one in ids[first:-1]]
        return {"guesses": guesses, "seconds": time.perf_counter() - started}


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
