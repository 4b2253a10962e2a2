"""The device's side of a pair in the making: the node's own program runs the draft and renders the template, as it will on a device.

It is a process of its own (`edge_node/trial.py`), as the hub imports nothing of the node; what it takes of memory is given back when it ends.
"""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from shared.errors import PairError

_NEEDED = "this needs the device's side too; pip install 'sled-mqtt[export]'"


@dataclass(frozen=True)
class Followed:
    """What a draft would have said along a text: its greedy guess at each position, and the seconds that a token took."""

    guesses: tuple[int, ...]
    s_per_token: float


class Device:
    """A running trial. Raises PairError for what the device's side refuses, and when it ends."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        """`process` is that of the trial."""
        self._process = process

    def open_graph(self, path: Path) -> int:
        """Take the draft graph at `path` as the one that the following methods are about; its number of positions."""
        return int(self._ask({"graph": str(path)})["context"])

    def open_draft(self, pair: Path, name: str) -> int:
        """The same of the draft of that name of the pair in a folder, which may have a vocabulary of its own."""
        return int(self._ask({"draft": name, "pair": str(pair)})["context"])

    def logits(self, ids: Sequence[int], held: int) -> npt.NDArray[np.float32]:
        """Logits [vocab] behind `ids`, which follow the first `held` of the ids before."""
        return np.frombuffer(base64.b64decode(self._ask({"logits": list(ids), "held": held})["logits"]), "<f4")

    def follow(self, ids: Sequence[int], first: int) -> Followed:
        """The draft's greedy guesses at the positions of `ids` from `first` on, which is 1 or more; -1 where it has none."""
        reply = self._ask({"follow": list(ids), "from": first})
        return Followed(tuple(reply["guesses"]), reply["seconds"] / max(1, len(ids) - first - 1))

    def cost_of_translation(self, texts: Sequence[str]) -> str:
        """A sentence on what it costs that the draft of a pair has another vocabulary than its target, for answers such as `texts`."""
        told: str = self._ask({"translate": list(texts)})["told"]
        return told

    def prompts(self, pair: Path, chats: Sequence[Sequence[dict[str, str]]]) -> list[list[int]]:
        """The ids of each chat, by the tokenizer and the template of the pair in that folder."""
        prompts: list[list[int]] = self._ask({"prompts": [list(chat) for chat in chats], "pair": str(pair)})["prompts"]
        return prompts

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            status = self._process.wait()
            raise PairError(
                f"the device's side ended with status {status}; {_NEEDED}"
                if status == 1
                else f"the device's side was ended by the system (status {status}); is there memory for this draft?"
            )
        reply: dict[str, Any] = json.loads(line)
        if "error" in reply:
            raise PairError(reply["error"])
        return reply


@contextmanager
def device() -> Iterator[Device]:
    """A trial that ends with the block."""
    command = [sys.executable, "-m", "edge_node.trial"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603
        try:
            yield Device(process)
        finally:
            process.kill()
