"""One request and its answer, for scripts."""

from __future__ import annotations

from edge_node.assembly import connected
from edge_node.dialogue.answer import Answer
from edge_node.dialogue.calls import CallReader
from edge_node.dialogue.generation import Generation
from edge_node.dialogue.report import answer_json, told_doubt
from edge_node.frontends.request import PROVISIONAL, tell_wait
from edge_node.settings import NodeSettings
from shared.errors import SledError
from shared.pair import load_pair
from shared.streams import put, put_json


def ask(settings: NodeSettings, generation: Generation, system: str | None, request: str, *, as_json: bool) -> None:
    """Print the answer as it grows, or one JSON object at its end.

    What is waited for is told on standard error. Text that no hub has verified is marked. Raises SledError; what was answered
    by then is printed all the same.
    """
    reader = CallReader(load_pair(settings.pair)) if as_json else None
    answer = Answer()
    with connected(settings, system, tell_wait) as conversation:
        try:
            for piece in conversation.ask(request, generation, answer):
                if reader is None:
                    put(piece)
        except SledError as error:
            if reader is not None:
                put_json(answer_json(answer, reader, str(error)))
            elif answer.text:
                put("\n")
            raise
        # Leaving the connection takes a moment: the answer is printed before.
        if reader is not None:
            put_json(answer_json(answer, reader))
        else:
            put(f"{PROVISIONAL}{answer.provisional}\n" if answer.provisional else "\n")
            if answer.question:
                put(f"{told_doubt(answer)}\n")
