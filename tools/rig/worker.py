"""A node's process: answers chats that it reads as JSON lines, and reports each answer as a JSON line.

{"chat": 3, "requests": ["turn on the lamp"], "sampling": [0.8, 40, 0.9], "seed": 7}
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from edge_node.assembly import connected
from edge_node.dialogue.answer import Answer
from edge_node.dialogue.conversation import Conversation
from edge_node.dialogue.generation import Generation
from edge_node.settings import NodeSettings
from shared.errors import LinkError
from shared.settings import load

_PAUSE_S = 0.3  # seconds until a worker that finds no broker tries again


def main(
    settings_file: Annotated[Path, typer.Argument(help="TOML file with the node's settings")],
    max_tokens: Annotated[int, typer.Option(min=1, help="of an answer")] = 96,
    pause: Annotated[float, typer.Option(min=0, help="seconds behind each answer")] = 0.0,
) -> None:
    """Answer until standard input ends."""
    settings = load(NodeSettings, "node", {}, settings_file)
    while True:
        try:
            with connected(settings) as conversation:
                for line in sys.stdin:
                    _chat(conversation, json.loads(line), max_tokens, pause)
                return
        except LinkError:
            time.sleep(_PAUSE_S)  # before the first chat: later a link mends itself


def _chat(conversation: Conversation, chat: dict[str, Any], max_tokens: int, pause: float) -> None:
    conversation.renew(None)
    temperature, top_k, top_p = chat["sampling"]
    generation = Generation(temperature, top_k, top_p, chat["seed"], max_tokens)
    for turn, request in enumerate(chat["requests"]):
        report: dict[str, Any] = {"chat": chat["chat"], "turn": turn, "began": time.monotonic()}
        answer = Answer()
        commits: list[tuple[float, str]] = []
        try:
            for _ in conversation.ask(request, generation, answer):
                channel = conversation.loop.channel
                commits.append((time.monotonic(), channel.hub if channel else ""))
        except Exception as error:  # whatever it is, it has lost an answer, and the judge is to know
            _say(report | {"failed": f"{type(error).__name__}: {error}", "ended": time.monotonic()})
            return
        _say(
            report
            | {"ids": answer.ids, "text": answer.text, "commits": commits, "ended": time.monotonic()}
            | {"reopened": answer.stats.reopened, "tokens": answer.stats.tokens, "streamed": answer.stats.streamed}
        )
        time.sleep(pause)
    _say({"chat": chat["chat"], "done": True})


def _say(report: dict[str, Any]) -> None:
    sys.stdout.write(f"{json.dumps(report)}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    typer.run(main)
